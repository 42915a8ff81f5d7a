"""What every sampler shares: the step it yields, and the split of a step into a deterministic part and noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch

StepNoise = Callable[[float, float], torch.Tensor]
"""`(sigma, sigma_next) -> noise` of x's shape, mean 0 and variance 1."""


class Step(NamedTuple):
    """Where a run stands after a step."""

    index: int
    x: torch.Tensor
    """(B, C, H, W): the noisy picture, from which the next step starts."""
    denoised: torch.Tensor
    """(B, C, H, W): the picture the model saw in this step."""


def ancestral_step(sigma: float, sigma_next: float, eta: float = 1.0) -> tuple[float, float]:
    """Split a step into a deterministic part and fresh noise (Song et al. 2020, arXiv:2010.02502, eq. 16).

    Returns `(sigma_down, sigma_up)` with sigma_down² + sigma_up² = sigma_next²; eta=0 adds no noise.
    """
    variance = sigma_next**2 * (sigma**2 - sigma_next**2) / sigma**2
    sigma_up = min(sigma_next, eta * math.sqrt(variance))
    return math.sqrt(sigma_next**2 - sigma_up**2), sigma_up
