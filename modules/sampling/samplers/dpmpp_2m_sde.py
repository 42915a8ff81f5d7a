"""DPM-Solver++(2M) for the diffusion SDE, midpoint form (Lu et al. 2022, arXiv:2211.01095, section 5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import torch

from modules.sampling.denoisers import Denoise

from .step import Step, StepNoise, log_snr

Weight = Callable[[torch.Tensor], torch.Tensor]
"""How much the change since the step before counts, by (1 + eta) h."""


def midpoint_weight(h: torch.Tensor) -> torch.Tensor:
    return 0.5 * -(-h).expm1()


def dpmpp_2m_sde(
    denoise: Denoise,
    x: torch.Tensor,
    sigmas: torch.Tensor,
    noise: StepNoise,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
    weight: Weight = midpoint_weight,
) -> Iterator[Step]:
    """Walk x down the sigmas (n + 1,), in lambda = -log(sigma); eta=0 adds no noise."""
    before: torch.Tensor | None = None
    h_before = torch.tensor(0.0)
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma)
        if sigma_next == 0:
            x = denoised
        else:
            h = log_snr(sigma_next) - log_snr(sigma)
            whole = h + eta * h
            x = sigma_next / sigma * (-eta * h).exp() * x - (-whole).expm1() * denoised
            if before is not None:
                x = x + weight(whole) * (h / h_before) * (denoised - before)
            if eta > 0:
                x = x + noise(sigma, sigma_next) * sigma_next * (-(-2 * eta * h).expm1()).sqrt() * s_noise
            h_before = h
        before = denoised
        yield Step(i, x, denoised)
