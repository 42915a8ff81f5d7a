"""Multistep sampling of a latent consistency model (Luo et al. 2023, arXiv:2310.04378, algorithm 3)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch

from modules.sampling.denoisers import Denoise

from .step import Step, StepNoise


def lcm(denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: StepNoise) -> Iterator[Step]:
    """Jump to the picture the model sees, add noise of the next of the sigmas (n + 1,), and again."""
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma)
        x = denoised + noise(sigma, sigma_next) * sigma_next if sigma_next > 0 else denoised
        yield Step(i, x, denoised)
