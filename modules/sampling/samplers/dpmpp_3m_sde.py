"""DPM-Solver++(3M) for the diffusion SDE: a multistep method of third order, by K. Crowson in k-diffusion.

It extends the second-order method of Lu et al. 2022, arXiv:2211.01095.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch

from modules.sampling.denoisers import Denoise

from .step import Step, StepNoise, log_snr


def dpmpp_3m_sde(
    denoise: Denoise,
    x: torch.Tensor,
    sigmas: torch.Tensor,
    noise: StepNoise,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> Iterator[Step]:
    """Walk x down the sigmas (n + 1,), in lambda = -log(sigma); eta=0 adds no noise."""
    seen: list[torch.Tensor] = []  # in the steps before, the last one first
    widths: list[torch.Tensor] = []
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma)
        if sigma_next == 0:
            x = denoised
        else:
            h = log_snr(sigma_next) - log_snr(sigma)
            whole = h * (eta + 1)
            x = (-whole).exp() * x - (-whole).expm1() * denoised
            if widths:
                line, bend = _corrections(denoised, seen, h, widths, whole)
                x = x + line - bend
            if eta > 0:
                x = x + noise(sigma, sigma_next) * sigma_next * (-(-2 * h * eta).expm1()).sqrt() * s_noise
            widths = [h, *widths][:2]
        seen = [denoised, *seen][:2]
        yield Step(i, x, denoised)


def _corrections(
    denoised: torch.Tensor, seen: list[torch.Tensor], h: torch.Tensor, widths: list[torch.Tensor], whole: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor | float]:
    """What a line and a bend through the pictures of the steps before add and take away."""
    phi_2 = (-whole).expm1() / whole + 1
    ratio = widths[0] / h
    change = (denoised - seen[0]) / ratio
    if len(widths) == 1:
        return phi_2 * change, 0.0
    ratio_before = widths[1] / h
    change_before = (seen[0] - seen[1]) / ratio_before
    bend = (change - change_before) / (ratio + ratio_before)
    slope = change + (change - change_before) * ratio / (ratio + ratio_before)
    phi_3 = phi_2 / whole - 0.5
    return phi_2 * slope, phi_3 * bend
