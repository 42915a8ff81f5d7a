"""DPM-Solver++ for the diffusion SDE, a singlestep method of second order (Lu et al. 2022, arXiv:2211.01095).

Both halves of a step add noise, from one Brownian path.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch

from modules.sampling.denoisers import Denoise

from .step import Step, StepNoise, ancestral_step, log_snr, sigma_at, slope


def dpmpp_sde(
    denoise: Denoise,
    x: torch.Tensor,
    sigmas: torch.Tensor,
    noise: StepNoise,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
    r: float = 0.5,
) -> Iterator[Step]:
    """Walk x down the sigmas (n + 1,), in lambda = -log(sigma); eta=0 adds no noise.

    `r`: where between two lambdas the model is asked a second time.
    """

    def down(x: torch.Tensor, time: torch.Tensor, target: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """x at `target`, if `seen` is the picture behind it."""
        sigma, sigma_target = sigma_at(time), sigma_at(target)
        sigma_down, sigma_up = ancestral_step(sigma, sigma_target, eta)
        time_down = log_snr(sigma_down)
        x = sigma_at(time_down) / sigma * x - (time - time_down).expm1() * seen
        return x + noise(sigma, sigma_target) * s_noise * sigma_up if sigma_up > 0 else x

    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma)
        if sigma_next == 0:
            x = x + slope(x, sigma, denoised) * (sigma_next - sigma)
        else:
            time, time_next = log_snr(sigma), log_snr(sigma_next)
            between = time + (time_next - time) * r
            seen_between = denoise(down(x, time, between, denoised), sigma_at(between))
            share = 1 / (2 * r)
            x = down(x, time, time_next, (1 - share) * denoised + share * seen_between)
        yield Step(i, x, denoised)
