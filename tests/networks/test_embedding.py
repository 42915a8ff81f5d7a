"""Embeddings of every format against the reference, and the files that are none."""

from __future__ import annotations

import json
import sys
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import save_file

from modules.models import Model, load
from modules.networks import NetworkMisfit, load_embedding
from modules.params import BadFile
from tests.models.small import FAMILIES, write

from .conftest import GOLDEN

FOLDER = GOLDEN / "embeddings"
LOADED = json.loads((GOLDEN / "cond.json").read_text(encoding="utf-8"))["embeddings"]["loaded"]


@pytest.mark.parametrize("name", sorted(LOADED))
def test_the_vectors_are_those_the_reference_read(name: str, model: Model, golden: Callable[..., torch.Tensor]) -> None:
    """D030, D031"""
    embedding = load_embedding(FOLDER / LOADED[name]["file"])
    assert embedding.name == name
    assert embedding.count == LOADED[name]["vectors"]
    fitted = embedding.fitted(model)
    assert torch.equal(fitted["clip_l"], golden("embedding_vectors", name))


def test_the_vectors_may_lie_in_pytorchs_own_container(tmp_path: Path) -> None:
    """D031: as the training code of 2022 saved them."""
    vectors = torch.arange(6.0).reshape(2, 3)
    container = torch.nn.ParameterDict({"*": torch.nn.Parameter(vectors)})
    content = {"string_to_token": {"*": torch.tensor(265)}, "string_to_param": container}
    torch.save(content, tmp_path / "old.pt")
    assert torch.equal(load_embedding(tmp_path / "old.pt").vectors["clip_l"], vectors)


def test_an_sdxl_embedding_has_vectors_for_both_encoders() -> None:
    """D031, P092"""
    embedding = load_embedding(FOLDER / "xlstyle.safetensors")
    assert {name: tuple(vectors.shape) for name, vectors in embedding.vectors.items()} == {
        "clip_l": (2, 64),
        "clip_g": (2, 128),
    }


@pytest.mark.parametrize(("file", "widths"), [("wrongdim.safetensors", "32"), ("xlstyle.safetensors", r"64 \+ 128")])
def test_a_wrong_width_is_refused_with_both_widths(file: str, widths: str, model: Model) -> None:
    """P095"""
    with pytest.raises(NetworkMisfit, match=rf"have {widths} numbers each, the model's have 64"):
        load_embedding(FOLDER / file).fitted(model)


def test_an_sdxl_embedding_on_an_sd1_model_says_what_it_was_made_for(tmp_path: Path, model: Model) -> None:
    path = tmp_path / "xl.safetensors"
    save_file({"clip_l": torch.zeros(1, 768), "clip_g": torch.zeros(1, 1280)}, path)
    with pytest.raises(NetworkMisfit, match="xl: made for SDXL, this is an SD 1 model"):
        load_embedding(path).fitted(model)


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    """Small models of the other families."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("sd2", "sdxl", "sdxl_refiner"):
        write(folder / f"{name}.safetensors", FAMILIES[name])
    return {path.stem: load(path) for path in folder.iterdir()}


def test_widths_are_those_of_the_models_encoders(others: dict[str, Model], tmp_path: Path) -> None:
    """P095: what one model skips another takes, and the same file is tried again with each."""
    save_file({"emb_params": torch.ones(2, 64)}, tmp_path / "wide.safetensors")
    save_file({"clip_l": torch.ones(2, 32), "clip_g": torch.ones(2, 64)}, tmp_path / "pair.safetensors")
    wide, pair = (load_embedding(tmp_path / f"{name}.safetensors") for name in ("wide", "pair"))
    fitted = {}
    for name, model in others.items():
        for embedding in (wide, pair):
            try:
                fitted[name, embedding.name] = set(embedding.fitted(model))
            except NetworkMisfit:
                fitted[name, embedding.name] = set()
    assert fitted == {
        ("sd2", "wide"): {"clip_l"},
        ("sd2", "pair"): set(),
        ("sdxl", "wide"): set(),
        ("sdxl", "pair"): {"clip_l", "clip_g"},
        ("sdxl_refiner", "wide"): set(),
        ("sdxl_refiner", "pair"): {"clip_g"},
    }


def test_an_embedding_longer_than_a_prompt_is_refused(tmp_path: Path) -> None:
    """P083"""
    path = tmp_path / "long.safetensors"
    save_file({"emb_params": torch.zeros(76, 64)}, path)
    with pytest.raises(BadFile, match="76 vectors; a prompt takes 1 to 75"):
        load_embedding(path)


@pytest.mark.parametrize(
    ("file", "reason"),
    [("twokeys.safetensors", "holds emb_params, other"), ("justpreview.png", "without an embedding")],
)
def test_the_files_that_the_reference_refused_are_refused(file: str, reason: str) -> None:
    """D031"""
    with pytest.raises(BadFile, match=reason):
        load_embedding(FOLDER / file)


@pytest.mark.parametrize(
    "content",
    [
        [1, 2, 3],
        {},
        {"string_to_param": 3},
        {"string_to_param": {}},
        {"string_to_param": {"*": torch.zeros(1, 64), "+": torch.zeros(1, 64)}},
        {"string_to_param": {"*": "text"}},
        {"string_to_param": {"*": torch.zeros(2, 2, 2)}},
        {"string_to_param": {"*": torch.zeros(0, 64)}},
        {"string_to_param": {"*": torch.zeros(1, 64, dtype=torch.int64)}},
        {"string_to_param": {"*": torch.full((1, 64), torch.inf)}},
        {"clip_l": torch.zeros(1, 64), "clip_g": torch.zeros(2, 64)},
        {"<a>": torch.zeros(64), "step": 3},
    ],
)
def test_a_file_that_is_no_embedding_is_refused(content: Any, tmp_path: Path) -> None:
    path = tmp_path / "bad.pt"
    torch.save(content, path)
    with pytest.raises(BadFile, match=r"bad\.pt: "):
        load_embedding(path)


def test_a_number_stretched_to_a_trillion_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "stretched.bin"
    torch.save({"<a>": torch.zeros(1).expand(10**12)}, path)
    with pytest.raises(BadFile, match="does not hold them"):
        load_embedding(path)


@pytest.mark.parametrize("pixels", [(0, 0, 0), (255, 255, 255), (16, 16, 16), (17, 0, 3)])
def test_a_picture_without_an_embedding_is_refused(pixels: tuple[int, int, int], tmp_path: Path) -> None:
    path = tmp_path / "plain.png"
    Image.new("RGB", (40, 30), pixels).save(path)
    with pytest.raises(BadFile, match="without an embedding"):
        load_embedding(path)


def test_a_picture_with_texts_deep_inside_each_other_is_refused(tmp_path: Path) -> None:
    depth = sys.getrecursionlimit() * 3 // 4  # JSON is read so deep, with one call for each
    chunks = PngInfo()
    chunks.add_text("sd-ti-embedding", b64encode(('{"a":' * depth + "1" + "}" * depth).encode()).decode())
    Image.new("RGB", (4, 4)).save(tmp_path / "deep.png", pnginfo=chunks)
    with pytest.raises(BadFile, match=r"deep\.png: "):
        load_embedding(tmp_path / "deep.png")


def test_a_damaged_picture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    path.write_bytes((FOLDER / "filestego.png").read_bytes()[:2000])
    with pytest.raises(BadFile, match="no picture that can be read"):
        load_embedding(path)
