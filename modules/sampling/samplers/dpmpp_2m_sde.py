"""DPM-Solver++(2M) for the diffusion SDE, midpoint form (Lu et al. 2022, arXiv:2211.01095, section 5)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch

from modules.sampling.denoisers import Denoise

from .step import Step, StepNoise


def dpmpp_2m_sde(
    denoise: Denoise, x: torch.Tensor, sigmas: Sequence[float], noise: StepNoise, *, eta: float = 1.0
) -> Iterator[Step]:
    """Walk x down the sigmas, in lambda = -log(sigma); eta=0 adds no noise."""
    before: torch.Tensor | None = None
    h_before = 0.0
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma)
        if sigma_next == 0:
            x = denoised
        else:
            h = math.log(sigma / sigma_next)
            forget = -math.expm1(-h * (1 + eta))  # the share of x that the model's picture replaces
            x = x * (sigma_next / sigma * math.exp(-h * eta)) + denoised * forget
            if before is not None:
                x = x + (denoised - before) * (0.5 * forget * h / h_before)
            if eta > 0:
                x = x + noise(sigma, sigma_next) * (sigma_next * math.sqrt(-math.expm1(-2 * eta * h)))
            h_before = h
        before = denoised
        yield Step(i, x, denoised)
