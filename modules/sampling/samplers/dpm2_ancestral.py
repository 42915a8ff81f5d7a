"""Midpoint steps that go too far down and come back up with fresh noise (k-diffusion's ancestral sampling).

DPM-Solver-2 (Lu et al. 2022, arXiv:2206.00927) with the split of a step of Song et al. 2020, arXiv:2010.02502.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch

from modules.sampling.denoisers import Denoise

from .dpm2 import midpoint_step
from .step import Step, StepNoise, ancestral_step


def dpm2_ancestral(
    denoise: Denoise,
    x: torch.Tensor,
    sigmas: torch.Tensor,
    noise: StepNoise,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> Iterator[Step]:
    """Walk x down the sigmas (n + 1,); eta=0 is `dpm2`."""
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma)
        sigma_down, sigma_up = ancestral_step(sigma, sigma_next, eta)
        x = midpoint_step(denoise, x, denoised, sigma, sigma_down)
        if sigma_up > 0:
            x = x + noise(sigma, sigma_next) * s_noise * sigma_up
        yield Step(i, x, denoised)
