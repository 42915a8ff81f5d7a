"""The reference checkpoint and what the reference made of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modules.models import Model, load

GOLDEN = Path(__file__).parents[1] / "data" / "golden"


@pytest.fixture(scope="session")
def model() -> Model:
    return load(GOLDEN / "model" / "tiny_sd1.safetensors")


@pytest.fixture(scope="session")
def golden() -> Callable[[str, str], torch.Tensor]:
    """The array of a name in one of the .npz files."""
    files = {path.stem: np.load(path) for path in GOLDEN.glob("*.npz")}
    return lambda file, name: torch.from_numpy(files[file][name])


@pytest.fixture(scope="session")
def predict(model: Model, golden: Callable[[str, str], torch.Tensor]) -> Callable[[], torch.Tensor]:
    """The UNet's noise for the inputs that the reference used."""
    x, context = golden("base", "x"), golden("base", "ctx")

    @torch.inference_mode()
    def noise() -> torch.Tensor:
        return model.unet(x, torch.tensor(500), encoder_hidden_states=context).sample

    return noise


@pytest.fixture(scope="session")
def read_text(model: Model) -> Callable[[], torch.Tensor]:
    """The text encoder's output for "a photo of a cat", (77, 64)."""
    start, end = 49406, 49407
    words = (320, 1125, 539, 320, 2368)
    tokens = torch.tensor([[start, *words, *(end,) * (76 - len(words))]])

    @torch.inference_mode()
    def encoded() -> torch.Tensor:
        return model.text_encoder(tokens).last_hidden_state[0]

    return encoded


def cases(file: str) -> list[Any]:
    """The cases of a golden JSON file as pytest parameters named by their keys."""
    found = json.loads((GOLDEN / file).read_text(encoding="utf-8"))["cases"]
    return [pytest.param(case, id=case["key"]) for case in found]


def distance(got: torch.Tensor, wanted: torch.Tensor) -> float:
    """|got - wanted| / |wanted|"""
    return float((got.double() - wanted.double()).norm() / wanted.double().norm().clamp(min=1e-30))
