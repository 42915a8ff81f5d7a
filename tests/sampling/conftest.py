import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

GOLDEN = Path(__file__).parents[1] / "data" / "golden"


@pytest.fixture(scope="session")
def golden_sigmas() -> Mapping[str, np.ndarray]:
    with np.load(GOLDEN / "sigmas.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def golden_noise() -> Mapping[str, np.ndarray]:
    with np.load(GOLDEN / "rng.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def alphas_cumprod(golden_sigmas: Mapping[str, np.ndarray]) -> torch.Tensor:
    """Those of Stable Diffusion 1."""
    return torch.from_numpy(golden_sigmas["alphas_cumprod"])


def golden(name: str) -> dict:
    return json.loads((GOLDEN / name).read_text())
