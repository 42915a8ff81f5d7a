"""The reference checkpoint, loaded once for all tests of this folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from modules.models import Model, load

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
CHECKPOINT = GOLDEN / "model" / "tiny_sd1.safetensors"


@pytest.fixture(scope="session")
def model() -> Model:
    return load(CHECKPOINT)


@pytest.fixture(scope="session")
def golden() -> Callable[[str], torch.Tensor]:
    arrays = np.load(GOLDEN / "base.npz")
    return lambda name: torch.from_numpy(arrays[name])
