"""Heun's method along the probability-flow ODE (Karras et al. 2022, arXiv:2206.00364, algorithm 2)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch

from modules.sampling.denoisers import Denoise

from .step import NO_CHURN, Churn, Step, StepNoise, slope


def heun(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: StepNoise, *, churn: Churn = NO_CHURN
) -> Iterator[Step]:
    """Walk x down the sigmas (n + 1,) by the mean of the slopes at both ends of a step; the one to zero is Euler's."""
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x, sigma_hat = churn.up(x, sigma, sigma_next, len(sigmas) - 1, noise)
        denoised = denoise(x, sigma_hat)
        here = slope(x, sigma_hat, denoised)
        width = sigma_next - sigma_hat
        there = here
        if sigma_next > 0:
            ahead = x + here * width
            there = slope(ahead, sigma_next, denoise(ahead, sigma_next))
        x = x + (here + there) / 2 * width
        yield Step(i, x, denoised)
