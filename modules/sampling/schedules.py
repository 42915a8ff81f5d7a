"""Sigma schedules: which noise levels a picture passes on its way from noise.

Each is a function `(n, levels)` that gives n falling sigmas; `sigmas` adds the zero at the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from modules.params import UnknownName

from .levels import NoiseLevels

Schedule = Callable[[int, NoiseLevels], Sequence[float]]
KARRAS_RHO = 7.0


def sigmas(schedule: str, n: int, levels: NoiseLevels) -> tuple[float, ...]:
    """n falling sigmas and a zero, by the schedule's label ("Automatic" is what the model itself suggests: Uniform).

    Raises UnknownName.
    """
    if schedule not in SCHEDULES:
        raise UnknownName("Schedule type", schedule, SCHEDULES)
    return (*(float(sigma) for sigma in SCHEDULES[schedule](n, levels)), 0.0)


def uniform(n: int, levels: NoiseLevels) -> Sequence[float]:
    """Timesteps evenly spaced, the first and the last included."""
    return [levels.sigma(t) for t in np.linspace(levels.timesteps[-1], levels.timesteps[0], n)]


def karras(n: int, levels: NoiseLevels) -> Sequence[float]:
    """Dense at low noise: evenly spaced in sigma^(1/7) (Karras et al. 2022, arXiv:2206.00364, eq. 5)."""
    high, low = (sigma ** (1 / KARRAS_RHO) for sigma in (levels.sigma_max, levels.sigma_min))
    return np.linspace(high, low, n) ** KARRAS_RHO


def exponential(n: int, levels: NoiseLevels) -> Sequence[float]:
    """Evenly spaced in log(sigma)."""
    return np.exp(np.linspace(math.log(levels.sigma_max), math.log(levels.sigma_min), n))


def sgm_uniform(n: int, levels: NoiseLevels) -> Sequence[float]:
    """Timesteps evenly spaced, the last left out: as Stability AI's own code samples."""
    return [levels.sigma(t) for t in np.linspace(levels.timesteps[-1], levels.timesteps[0], n + 1)[:-1]]


def simple(n: int, levels: NoiseLevels) -> Sequence[float]:
    """Every len/n-th of the model's own levels, from the noisiest down."""
    return [levels.sigma(levels.timesteps[-1 - int(step * len(levels) / n)]) for step in range(n)]


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
