"""The pictures on cards."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from modules.catalogue import Catalogue

from .files import LORA, write_tensors

PNG = b"\x89PNG\r\n\x1a\nrest"
JPEG = b"\xff\xd8\xffrest"


def test_the_file_beside_an_entry_is_its_picture(catalogue: Catalogue, loras: Path) -> None:
    # D060
    write_tensors(loras / "a.safetensors", LORA)
    (loras / "a.preview.png").write_bytes(JPEG)
    (entry,) = catalogue.entries("lora")
    assert entry.has_preview
    assert catalogue.preview_bytes(entry) == (JPEG, "image/jpeg")


@pytest.mark.parametrize(
    "metadata",
    [
        {"ssmd_cover_images": json.dumps([base64.b64encode(PNG).decode()])},
        {"modelspec.thumbnail": "data:image/png;base64," + base64.b64encode(PNG).decode()},
        {"ssmd_cover_images": "[]", "modelspec.thumbnail": base64.b64encode(PNG).decode()},
    ],
)
def test_a_cover_inside_the_file_is_its_picture(metadata: dict[str, str], catalogue: Catalogue, loras: Path) -> None:
    # D060
    write_tensors(loras / "a.safetensors", LORA, metadata)
    (entry,) = catalogue.entries("lora")
    assert entry.has_preview
    assert catalogue.preview_bytes(entry) == (PNG, "image/png")


@pytest.mark.parametrize("cover", ["", "{", "[5]", '["!"]', "null", '["PHN2Zz4="]', "[" * 100_000])
def test_a_cover_that_is_no_picture_is_none(cover: str, catalogue: Catalogue, loras: Path) -> None:
    write_tensors(loras / "a.safetensors", LORA, {"ssmd_cover_images": cover})
    (entry,) = catalogue.entries("lora")
    assert catalogue.preview_bytes(entry) is None


def test_a_page_with_a_pictures_name_is_never_served(catalogue: Catalogue, loras: Path) -> None:
    write_tensors(loras / "a.safetensors", LORA)
    (loras / "a.png").write_bytes(b"<script>alert(1)</script>")
    assert catalogue.preview_bytes(catalogue.entries("lora")[0]) is None


def test_a_picture_that_vanished_is_none(catalogue: Catalogue, loras: Path) -> None:
    write_tensors(loras / "a.safetensors", LORA)
    (loras / "a.png").write_bytes(PNG)
    (entry,) = catalogue.entries("lora")
    (loras / "a.png").unlink()
    assert catalogue.preview_bytes(entry) is None
