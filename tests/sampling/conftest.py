import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from modules.sampling import Context, Perspective, Seen

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


@dataclass(frozen=True)
class Unguided:
    """A model without prompts, from a function of `(x, timestep)`; what is said away from is what is said."""

    output: Callable[[torch.Tensor, float], torch.Tensor]
    seen: Seen | None = None

    def through(self, perspective: Perspective) -> "Unguided":
        return Unguided(self.output, perspective.view(lambda x, timestep, context: self.output(x, timestep)))

    def __call__(self, x: torch.Tensor, at: float) -> torch.Tensor:
        assert self.seen is not None
        return self.seen(x, at, Context(x))

    def both(self, x: torch.Tensor, at: float) -> tuple[torch.Tensor, torch.Tensor]:
        return self(x, at), self(x, at)
