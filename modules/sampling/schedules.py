"""Sigma schedules: which noise levels a picture passes on its way from noise.

Each is a function `(n, levels)` that gives n falling sigmas, float32; `sigmas` adds the zero at the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch

from modules.params import UnknownName

from .levels import NoiseLevels

Schedule = Callable[[int, NoiseLevels], torch.Tensor]
KARRAS_RHO = 7.0


def sigmas(schedule: str, n: int, levels: NoiseLevels) -> tuple[float, ...]:
    """n falling sigmas and a zero, by the schedule's label ("Automatic" is what the model itself suggests: Uniform).

    Raises UnknownName.
    """
    if schedule not in SCHEDULES:
        raise UnknownName("Schedule type", schedule, SCHEDULES)
    return (*SCHEDULES[schedule](n, levels).tolist(), 0.0)


def uniform(n: int, levels: NoiseLevels) -> torch.Tensor:
    """Timesteps evenly spaced, the first and the last included."""
    return levels.at(torch.linspace(levels.last, levels.first, n))


def karras(n: int, levels: NoiseLevels) -> torch.Tensor:
    """Dense at low noise: evenly spaced in sigma^(1/7) (Karras et al. 2022, arXiv:2206.00364, eq. 5)."""
    high, low = levels.sigma_max ** (1 / KARRAS_RHO), levels.sigma_min ** (1 / KARRAS_RHO)
    return (high + torch.linspace(0, 1, n) * (low - high)) ** KARRAS_RHO


def exponential(n: int, levels: NoiseLevels) -> torch.Tensor:
    """Evenly spaced in log(sigma)."""
    return torch.linspace(math.log(levels.sigma_max), math.log(levels.sigma_min), n).exp()


def sgm_uniform(n: int, levels: NoiseLevels) -> torch.Tensor:
    """Timesteps evenly spaced, the last left out: as Stability AI's own code samples."""
    return levels.at(torch.linspace(levels.last, levels.first, n + 1)[:-1])


def simple(n: int, levels: NoiseLevels) -> torch.Tensor:
    """Every len/n-th of the model's own levels, from the noisiest down."""
    return levels.sigmas[[-1 - int(step * (len(levels) / n)) for step in range(n)]]


SCHEDULES: Mapping[str, Schedule] = MappingProxyType(
    {
        "Automatic": uniform,
        "Uniform": uniform,
        "Karras": karras,
        "Exponential": exponential,
        "SGM Uniform": sgm_uniform,
        "Simple": simple,
    }
)
