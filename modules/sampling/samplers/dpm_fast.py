"""DPM-Solver-fast: a fixed number of calls, spent on steps of third order as far as they go.

Lu et al. 2022, arXiv:2206.00927, section 3.4; with ancestral noise as in k-diffusion.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from modules.sampling.denoisers import Denoise

from .dpm_solver import SolverStep, noisy_end
from .euler import euler
from .step import Step, StepNoise, log_snr, sigma_at


def dpm_fast(
    denoise: Denoise,
    x: torch.Tensor,
    sigmas: torch.Tensor,
    noise: StepNoise,
    *,
    calls: int,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> Iterator[Step]:
    """Walk x from the first to the second of the sigmas (2,), by `fast_orders` of the calls of the model.

    The steps are evenly spaced in lambda = -log(sigma). Where the two are one, there is only the step to zero.
    """
    if sigmas[0] == sigmas[1]:
        yield from euler(denoise, x, torch.stack([sigmas[0], torch.zeros_like(sigmas[0])]), noise)
        return
    orders = fast_orders(calls)
    start, last = log_snr(sigmas)
    times = torch.linspace(start, last, len(orders) + 1, dtype=sigmas.dtype)
    for i, order in enumerate(orders):
        time, time_next = times[i], times[i + 1]
        target, sigma_up = noisy_end(time, time_next, last, eta)
        step = SolverStep(denoise, x, time)
        x = (step.first_order, step.second_order, step.third_order)[order - 1](target)
        if eta > 0:
            x = x + sigma_up * s_noise * noise(sigma_at(time), sigma_at(time_next))
        yield Step(i, x, step.denoised)


def fast_orders(calls: int) -> tuple[int, ...]:
    """The order of each step: threes, and at the end what is left of the calls, at least one step of a lower order."""
    rest = calls % 3
    return (3,) * (calls // 3 - 1) + (2, 1) if rest == 0 else (3,) * (calls // 3) + (rest,)
