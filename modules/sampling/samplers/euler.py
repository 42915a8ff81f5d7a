"""Euler's method along the probability-flow ODE (Karras et al. 2022, arXiv:2206.00364, algorithm 2, first order)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch

from modules.sampling.denoisers import Denoise

from .step import NO_CHURN, Churn, Step, StepNoise, slope


def euler(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: StepNoise, *, churn: Churn = NO_CHURN
) -> Iterator[Step]:
    """Walk x down the sigmas (n + 1,); without churn it is deterministic and `noise` is not asked."""
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x, sigma_hat = churn.up(x, sigma, sigma_next, len(sigmas) - 1, noise)
        denoised = denoise(x, sigma_hat)
        x = x + slope(x, sigma_hat, denoised) * (sigma_next - sigma_hat)
        yield Step(i, x, denoised)
