"""An SD 2 file that does not say what its UNet predicts is asked with a fixed input."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from modules.models import Model, load
from tests.models import small
from tests.models.small import FAMILIES

SILENT = replace(FAMILIES["sd2"], prediction=None)
BIAS = "model.diffusion_model.out.2.bias"


def loaded(
    path: Path, level: float, structure: small.Structure = SILENT, *, config: dict[str, str] | None = None
) -> Model:
    """A model whose UNet gives a picture of about `level` for any input."""
    zeros = {"model.diffusion_model.out.2.weight": torch.zeros(4, 64, 3, 3, dtype=torch.float16)}
    small.write(path, structure, more=zeros | {BIAS: torch.full((4,), level, dtype=torch.float16)})
    if config:
        path.with_suffix(".yaml").write_text(json.dumps({"model": {"params": config}}), encoding="utf-8")
    return load(path)


@pytest.mark.parametrize(
    ("level", "prediction"),
    [(0.5, "epsilon"), (0.0, "epsilon"), (-0.45, "epsilon"), (-0.55, "v"), (-2.0, "v")],
)
def test_an_answer_more_than_one_below_the_input_means_v(level: float, prediction: str, tmp_path: Path) -> None:
    """D014: the input is 0.5 everywhere, and the limit -1 below it."""
    assert loaded(tmp_path / "model.safetensors", level).prediction_type == prediction


def test_what_the_file_or_its_yaml_says_is_not_asked_for(tmp_path: Path) -> None:
    told = replace(SILENT, prediction="epsilon")
    assert loaded(tmp_path / "a.safetensors", -2.0, told).prediction_type == "epsilon"
    by_yaml = loaded(tmp_path / "b.safetensors", 0.5, config={"parameterization": "v"})
    assert by_yaml.prediction_type == "v"


def test_an_sd2_made_for_inpainting_predicts_noise(tmp_path: Path) -> None:
    assert loaded(tmp_path / "a.safetensors", -2.0, FAMILIES["sd2_inpaint"]).prediction_type == "epsilon"


def test_other_families_are_not_asked(tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    bias = {BIAS: torch.full((4,), -9.0)}
    small.write(path, FAMILIES["sdxl"], more=bias)
    assert load(path).prediction_type == "epsilon"
