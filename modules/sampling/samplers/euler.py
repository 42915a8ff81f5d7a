"""Euler's method along the probability-flow ODE (Karras et al. 2022, arXiv:2206.00364, algorithm 1 without churn)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch

from modules.sampling.denoisers import Denoise

from .step import Step, StepNoise


def euler(denoise: Denoise, x: torch.Tensor, sigmas: Sequence[float], noise: StepNoise) -> Iterator[Step]:
    """Walk x down the sigmas; deterministic, `noise` is not asked."""
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma)
        slope = (x - denoised) / sigma
        x = x + slope * (sigma_next - sigma)
        yield Step(i, x, denoised)
