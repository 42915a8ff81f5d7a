"""DPM-Solver++(2M): a multistep method of second order (Lu et al. 2022, arXiv:2211.01095, algorithm 2)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch

from modules.sampling.denoisers import Denoise

from .step import Step, StepNoise


def dpmpp_2m(denoise: Denoise, x: torch.Tensor, sigmas: Sequence[float], noise: StepNoise) -> Iterator[Step]:
    """Walk x down the sigmas, in lambda = -log(sigma); the last step to zero takes what the model sees."""
    before: torch.Tensor | None = None
    h_before = 0.0
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma)
        if sigma_next == 0:
            x = denoised
        else:
            h = math.log(sigma / sigma_next)
            target = denoised
            if before is not None:
                ratio = h_before / h
                target = denoised * (1 + 1 / (2 * ratio)) - before / (2 * ratio)
            x = x * (sigma_next / sigma) - target * math.expm1(-h)
            h_before = h
        before = denoised
        yield Step(i, x, denoised)
