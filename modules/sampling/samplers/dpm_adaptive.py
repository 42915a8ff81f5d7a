"""DPM-Solver with adaptive step sizes: as many steps as the picture needs, not as many as asked for.

Lu et al. 2022, arXiv:2206.00927, appendix C.5 (DPM-Solver-12 and -23); the step size is controlled as in k-diffusion,
after Söderlind 2003, "Digital filters in adaptive time-stepping".
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from modules.sampling.denoisers import Denoise

from .dpm_solver import SolverStep, noisy_end
from .euler import euler
from .step import Step, StepNoise, log_snr, sigma_at

RELATIVE, ABSOLUTE = 0.05, 0.0078  # tolerances
FIRST_STEP = 0.05
NEAR = 1e-5
SAFETY = 0.81  # a step whose successor would be shorter than this share is taken again
EPSILON = 1e-8


def dpm_adaptive(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: StepNoise, *, calls: int, eta: float = 1.0
) -> Iterator[Step]:
    """Walk x from the first to the second of the sigmas (2,). Where the two are one, there is only the step to zero.

    Yields each step that is accepted. How many there will be nobody knows: `index` is the share of the way that is
    done, in as many parts as `calls`, the last of them at the end. One step size suits all pictures of a batch, so that
    a picture of a batch would differ from the same seed alone: give it one at a time.
    """
    if sigmas[0] == sigmas[1]:
        yield from euler(denoise, x, torch.stack([sigmas[0], torch.zeros_like(sigmas[0])]), noise)
        return
    start, last = log_snr(sigmas)
    time, h, before = start, FIRST_STEP, x
    order = 1.5 if eta > 0 else 3.0
    while time < last - NEAR:
        end = torch.minimum(last, time + h)
        target, sigma_up = noisy_end(time, end, last, eta)
        step = SolverStep(denoise, x, time)
        low, high = step.second_order_by_third(target), step.third_order(target)
        factor = step_factor(_error(low, high, before), order)
        h *= factor
        if factor < SAFETY:
            continue
        before, x = low, high
        if eta > 0:
            x = x + sigma_up * noise(sigma_at(time), sigma_at(end))
        time = end
        yield Step(_share_done(time, start, last, calls), x, step.denoised)


def _share_done(time: torch.Tensor, start: torch.Tensor, last: torch.Tensor, parts: int) -> int:
    """The number of the part, of as many as these, in which `time` is; the last one at the end only."""
    if time >= last - NEAR:
        return parts - 1
    return max(min(int(parts * ((time - start) / (last - start)).item()), parts - 2), 0)


def step_factor(error: float, order: float) -> float:
    """How much longer the next step may be than this one, whose error is `error` tolerances: 0.2 to 2.6 times."""
    return 1 + math.atan((1 / (error + EPSILON)) ** (1 / order) - 1)


def _error(low: torch.Tensor, high: torch.Tensor, before: torch.Tensor) -> float:
    """The difference of two orders in tolerances, as a root mean square over the batch."""
    tolerance = (RELATIVE * torch.maximum(low.abs(), before.abs())).clamp(min=ABSOLUTE)
    return (torch.linalg.norm((low - high) / tolerance) / low.numel() ** 0.5).item()
