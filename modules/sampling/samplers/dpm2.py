"""The midpoint method along the probability-flow ODE, the midpoint taken in log(sigma).

After DPM-Solver-2 (Lu et al. 2022, arXiv:2206.00927) with the churn of Karras et al. 2022, arXiv:2206.00364.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch

from modules.sampling.denoisers import Denoise

from .step import NO_CHURN, Churn, Step, StepNoise, slope


def dpm2(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: StepNoise, *, churn: Churn = NO_CHURN
) -> Iterator[Step]:
    """Walk x down the sigmas (n + 1,); the step to zero is Euler's."""
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x, sigma_hat = churn.up(x, sigma, sigma_next, len(sigmas) - 1, noise)
        denoised = denoise(x, sigma_hat)
        x = midpoint_step(denoise, x, denoised, sigma_hat, sigma_next)
        yield Step(i, x, denoised)


def midpoint_step(
    denoise: Denoise, x: torch.Tensor, denoised: torch.Tensor, sigma: torch.Tensor, sigma_next: torch.Tensor
) -> torch.Tensor:
    """x at `sigma_next`, by the slope halfway down in log(sigma)."""
    here = slope(x, sigma, denoised)
    if sigma_next == 0:
        return x + here * (sigma_next - sigma)
    middle = sigma.log().lerp(sigma_next.log(), 0.5).exp()
    halfway = x + here * (middle - sigma)
    return x + slope(halfway, middle, denoise(halfway, middle)) * (sigma_next - sigma)
