"""Euler steps that go too far down and come back up with fresh noise (k-diffusion's ancestral sampling).

The split of a step is that of Song et al. 2020, arXiv:2010.02502.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch

from modules.sampling.denoisers import Denoise

from .step import Step, StepNoise, ancestral_step, slope


def euler_ancestral(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: StepNoise, *, eta: float = 1.0
) -> Iterator[Step]:
    """Walk x down the sigmas (n + 1,); eta=0 is `euler`."""
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma)
        sigma_down, sigma_up = ancestral_step(sigma, sigma_next, eta)
        x = x + slope(x, sigma, denoised) * (sigma_down - sigma)
        if sigma_up > 0:
            x = x + noise(sigma, sigma_next) * sigma_up
        yield Step(i, x, denoised)
