"""DPM-Solver++(2S), a singlestep method of second order, with ancestral noise.

Lu et al. 2022, arXiv:2211.01095, algorithm 1; the noise as in k-diffusion.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch

from modules.sampling.denoisers import Denoise

from .step import Step, StepNoise, ancestral_step, log_snr, sigma_at, slope


def dpmpp_2s_ancestral(
    denoise: Denoise,
    x: torch.Tensor,
    sigmas: torch.Tensor,
    noise: StepNoise,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> Iterator[Step]:
    """Walk x down the sigmas (n + 1,), in lambda = -log(sigma); eta=0 adds no noise."""
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma)
        sigma_down, sigma_up = ancestral_step(sigma, sigma_next, eta)
        if sigma_down == 0:
            x = x + slope(x, sigma, denoised) * (sigma_down - sigma)
        else:
            time, time_down = log_snr(sigma), log_snr(sigma_down)
            h = time_down - time
            middle = sigma_at(time + h / 2)
            halfway = middle / sigma_at(time) * x - (-h / 2).expm1() * denoised
            seen_halfway = denoise(halfway, middle)
            x = sigma_at(time_down) / sigma_at(time) * x - (-h).expm1() * seen_halfway
        if sigma_up > 0:
            x = x + noise(sigma, sigma_next) * s_noise * sigma_up
        yield Step(i, x, denoised)
