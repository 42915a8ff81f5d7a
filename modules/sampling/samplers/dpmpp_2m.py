"""DPM-Solver++(2M): a multistep method of second order (Lu et al. 2022, arXiv:2211.01095, algorithm 2)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch

from modules.sampling.denoisers import Denoise

from .step import Step, StepNoise, log_snr, sigma_at


def dpmpp_2m(denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: StepNoise) -> Iterator[Step]:
    """Walk x down the sigmas (n + 1,), in lambda = -log(sigma); the step to zero takes what the model sees."""
    before: torch.Tensor | None = None
    h_before = torch.tensor(0.0)
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma)
        time, time_next = log_snr(sigma), log_snr(sigma_next)
        h = time_next - time  # infinite where sigma_next is 0
        target = denoised
        if before is not None and sigma_next > 0:
            ratio = h_before / h
            target = (1 + 1 / (2 * ratio)) * denoised - 1 / (2 * ratio) * before
        x = sigma_at(time_next) / sigma_at(time) * x - (-h).expm1() * target
        before, h_before = denoised, h
        yield Step(i, x, denoised)
