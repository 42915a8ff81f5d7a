"""What is written beside a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modules.catalogue import Catalogue, Entry

from .files import LORA, write_tensors


def with_sidecars(catalogue: Catalogue, folder: Path, **texts: str) -> Entry:
    write_tensors(folder / "a.safetensors", LORA)
    for ending, text in texts.items():
        (folder / f"a.{ending.replace('_', '.')}").write_text(text, encoding="utf-8")
    (found,) = catalogue.entries("lora")
    return found


def test_every_entry_of_a_sidecar_is_known(catalogue: Catalogue, loras: Path) -> None:
    # D061, D047
    sidecar = {
        "description": "Ink",
        "notes": "mine",
        "activation text": "ink style",
        "preferred weight": 0.8,
        "negative text": "photo",
        "sd version": "SDXL",
        "something of another tool": [1, 2],
    }
    entry = with_sidecars(catalogue, loras, json=json.dumps(sidecar))
    assert (entry.description, entry.notes, entry.activation_text) == ("Ink", "mine", "ink style")
    assert (entry.preferred_weight, entry.negative_text, entry.family) == (0.8, "photo", "sdxl")
    assert entry.sidecar["something of another tool"] == [1, 2]


def test_a_byte_order_mark_does_no_harm(catalogue: Catalogue, loras: Path) -> None:
    assert with_sidecars(catalogue, loras, json='\ufeff{"description": "Ä"}').description == "Ä"


@pytest.mark.parametrize("name", ["txt", "description_txt"])
def test_a_text_is_the_description_where_the_sidecar_has_none(name: str, catalogue: Catalogue, loras: Path) -> None:
    # D061
    entry = with_sidecars(catalogue, loras, json='{"description": "", "notes": "n"}', **{name: " Ink \n"})
    assert (entry.description, entry.notes) == ("Ink", "n")


def test_the_sidecars_own_description_counts_first(catalogue: Catalogue, loras: Path) -> None:
    assert with_sidecars(catalogue, loras, json='{"description": "A"}', txt="B").description == "A"


def test_what_another_site_wrote_is_left_alone(catalogue: Catalogue, loras: Path) -> None:
    # D061
    assert with_sidecars(catalogue, loras, civitai_info='{"description": "C"}').description == ""


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "null", "[" * 10_000, '{"description": 5, "preferred weight": "much"}']
)
def test_a_damaged_sidecar_is_as_good_as_none(text: str, catalogue: Catalogue, loras: Path) -> None:
    entry = with_sidecars(catalogue, loras, json=text)
    assert (entry.description, entry.preferred_weight, entry.error) == ("", None, None)


@pytest.mark.parametrize(
    ("value", "weight"),
    [("0.5", 0.5), (1, 1.0), (0, None), (None, None), ([], None), (float("nan"), None), ("inf", None)],
)
def test_a_preferred_weight_of_nothing_is_none(
    value: object, weight: float | None, catalogue: Catalogue, loras: Path
) -> None:
    assert with_sidecars(catalogue, loras, json=json.dumps({"preferred weight": value})).preferred_weight == weight


def test_half_a_surrogate_pair_never_reaches_a_page(catalogue: Catalogue, loras: Path) -> None:
    entry = with_sidecars(catalogue, loras, json='{"description": "a\\ud800b", "x\\udfff": ["\\ud900"]}')
    assert json.dumps(dict(entry.sidecar), ensure_ascii=False).encode()
    assert entry.description == "a?b"


def test_a_sidecar_that_changes_is_read_again(catalogue: Catalogue, loras: Path) -> None:
    with_sidecars(catalogue, loras, json='{"description": "A"}')
    (loras / "a.json").write_text('{"description": "Another"}')
    assert catalogue.refresh("lora") == {"lora"}
    assert catalogue.entries("lora")[0].description == "Another"
