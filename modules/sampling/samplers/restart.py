"""Restart sampling: go back up with fresh noise and come down again (Xu et al. 2023, arXiv:2306.14878).

Every step is Heun's (Karras et al. 2022, arXiv:2206.00364). The noise washes out errors made on the way down.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch

from modules.sampling.denoisers import Denoise
from modules.sampling.schedules import karras_path

from .heun import heun
from .step import Step, StepNoise

FEWEST_STEPS, MANY_STEPS = 20, 36  # from here on one restart, and two
STEPS_OF_ONE = 9
TOP, BOTTOM = 2.0, 0.1  # between these sigmas


def restart(denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: StepNoise) -> Iterator[Step]:
    """Walk x down the sigmas (n + 1,), with restarts where there are 20 steps or more."""
    end: torch.Tensor | None = None
    for i, (sigma, sigma_next) in enumerate(restart_steps(sigmas)):
        if end is not None and end < sigma:
            x = x + noise(end, sigma) * (sigma**2 - end**2) ** 0.5
        (step,) = heun(denoise, x, torch.stack([sigma, sigma_next]), noise)
        x, end = step.x, sigma_next
        yield step._replace(index=i)


def restart_steps(sigmas: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(sigma, sigma_next) of each step; one that starts above the end of the step before it is a restart.

    The steps of the restarts are taken from those of the way down, which is Karras's then, from end to end.
    """
    steps = len(sigmas) - 1
    if steps < FEWEST_STEPS:
        return list(pairwise(sigmas))
    times, each = (2, steps // 4) if steps >= MANY_STEPS else (1, STEPS_OF_ONE)
    down = karras_path(steps - each * times, sigmas[-2].item(), sigmas[0].item())
    down = torch.cat([down, down.new_zeros(1)])
    top, bottom = int((down - TOP).abs().argmin()), int((down - BOTTOM).abs().argmin())
    path = list(pairwise(down))
    if top >= bottom:
        return path
    again = list(pairwise(karras_path(each + 1, down[bottom].item(), down[top].item())))
    return path[:bottom] + again * times + path[bottom:]
