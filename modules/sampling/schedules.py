"""Sigma schedules: which noise levels a picture passes on its way from noise.

Each is a function of the number of steps and of what it may depend on, and gives the falling sigmas, float32, to where
the walk ends: at zero, for all but one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch

from modules.params import UnknownName, find_schedule

from .beta import beta_quantile
from .levels import NoiseLevels
from .options import SamplerOptions

OLD_KARRAS = (0.1, 10.0)


@dataclass(frozen=True)
class Range:
    """Between which noise levels a schedule runs, and what else shapes it."""

    levels: NoiseLevels
    low: float
    high: float
    rho: float
    alpha: float = 0.6
    beta: float = 0.6
    is_sdxl: bool = False


Schedule = Callable[[int, Range], torch.Tensor]


def sigmas(
    schedule: str, n: int, levels: NoiseLevels, *, options: SamplerOptions | None = None, is_sdxl: bool = False
) -> torch.Tensor:
    """(n + 1,) float32: n falling sigmas and a zero, by the schedule's label.

    "Automatic" is what the model itself suggests: Uniform. KL Optimal ends at the lowest level instead of at zero, DDIM
    may have a few more than n. Raises UnknownName.
    """
    if schedule not in SCHEDULES:
        raise UnknownName("Schedule type", schedule, SCHEDULES)
    options = options or SamplerOptions()
    low, high = OLD_KARRAS if options.old_karras else (levels.sigma_min, levels.sigma_max)
    area = Range(
        levels,
        low=options.sigma_min or low,
        high=options.sigma_max or high,
        rho=options.rho or find_schedule(schedule).rho or 1.0,
        alpha=options.beta_alpha,
        beta=options.beta_beta,
        is_sdxl=is_sdxl,
    )
    return SCHEDULES[schedule](n, area)


def uniform(n: int, area: Range) -> torch.Tensor:
    """Timesteps evenly spaced, the first and the last included."""
    return _to_zero(area.levels.at(torch.linspace(area.levels.last, area.levels.first, n)))


def karras(n: int, area: Range) -> torch.Tensor:
    """Dense at low noise: evenly spaced in sigma^(1/7) (Karras et al. 2022, arXiv:2206.00364, eq. 5)."""
    return _to_zero(karras_path(n, area.low, area.high, area.rho))


def karras_path(n: int, low: float, high: float, rho: float = 7.0) -> torch.Tensor:
    """(n,): from `high` to `low`, evenly spaced in sigma^(1/rho)."""
    low_root, high_root = low ** (1 / rho), high ** (1 / rho)
    return (high_root + torch.linspace(0, 1, n) * (low_root - high_root)) ** rho


def exponential(n: int, area: Range) -> torch.Tensor:
    """Evenly spaced in log(sigma)."""
    return _to_zero(torch.linspace(math.log(area.high), math.log(area.low), n).exp())


def polyexponential(n: int, area: Range) -> torch.Tensor:
    """A polynomial in log(sigma): denser at low noise as rho grows, the exponential schedule at rho 1 (k-diffusion)."""
    ramp = torch.linspace(1, 0, n) ** area.rho
    return _to_zero((ramp * (math.log(area.high) - math.log(area.low)) + math.log(area.low)).exp())


def normal(n: int, area: Range) -> torch.Tensor:
    """Timesteps evenly spaced, the first and the last included, between the levels asked for."""
    return _to_zero(area.levels.at(torch.linspace(*_timesteps(area), n)))


def sgm_uniform(n: int, area: Range) -> torch.Tensor:
    """Timesteps evenly spaced, the last left out: as Stability AI's own code samples."""
    return _to_zero(area.levels.at(torch.linspace(*_timesteps(area), n + 1)[:-1]))


def kl_optimal(n: int, area: Range) -> torch.Tensor:
    """Evenly spaced in arctan(sigma) (Sabour et al. 2024, arXiv:2404.14507, section 3.1); ends at the lowest level."""
    low, high = torch.tensor(area.low).arctan(), torch.tensor(area.high).arctan()
    share = torch.arange(n + 1) / n
    return (share * low + (1.0 - share) * high).tan()


def align_your_steps(n: int, area: Range) -> torch.Tensor:
    """The ten steps found best for the model's family, log-linear between them (Sabour et al. 2024, arXiv:2404.14507).

    The levels are the paper's own, whatever range is asked for.
    """
    best = ALIGNED_SDXL if area.is_sdxl else ALIGNED_SD1
    if n == len(best):
        return torch.tensor([*best, 0.0])
    rising = np.interp(np.linspace(0, 1, n), np.linspace(0, 1, len(best)), np.log(best[::-1]))
    return torch.tensor([*np.exp(rising)[::-1], 0.0], dtype=torch.float32)


ALIGNED_SD1 = (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029)
ALIGNED_SDXL = (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029)


def simple(n: int, area: Range) -> torch.Tensor:
    """Every len/n-th of the model's own levels, from the noisiest down."""
    levels = area.levels
    return _to_zero(levels.sigmas[[-1 - int(step * (len(levels) / n)) for step in range(n)]].float())


def ddim(n: int, area: Range) -> torch.Tensor:
    """Every (len // n)-th of the model's own levels, from the second up; a few more than n where it leaves a rest."""
    levels = area.levels
    return _to_zero(levels.sigmas[1 :: max(len(levels) // n, 1)].flip(0).float())


def beta(n: int, area: Range) -> torch.Tensor:
    """Evenly spaced quantiles of a beta distribution of sigma (Lee et al. 2024, arXiv:2407.12173)."""
    shares = beta_quantile(1 - np.linspace(0, 1, n), area.alpha, area.beta)
    return torch.tensor([*(area.low + shares * (area.high - area.low)), 0.0], dtype=torch.float32)


def _timesteps(area: Range) -> tuple[float, float]:
    """The timesteps of the highest and lowest level."""
    return area.levels.timestep(area.high), area.levels.timestep(area.low)


def _to_zero(path: torch.Tensor) -> torch.Tensor:
    return torch.cat([path, path.new_zeros(1)])


SCHEDULES: Mapping[str, Schedule] = MappingProxyType(
    {
        "Automatic": uniform,
        "Uniform": uniform,
        "Karras": karras,
        "Exponential": exponential,
        "Polyexponential": polyexponential,
        "SGM Uniform": sgm_uniform,
        "KL Optimal": kl_optimal,
        "Align Your Steps": align_your_steps,
        "Simple": simple,
        "Normal": normal,
        "DDIM": ddim,
        "Beta": beta,
    }
)
