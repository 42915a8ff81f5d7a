"""The course of one run: which noise levels it passes, where it starts, and who walks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, Protocol

import torch

from modules.params import SAMPLERS, UnknownName, find_sampler

from . import samplers
from .denoisers import (
    Denoise,
    Guided,
    Perspective,
    Prediction,
    consistency_view,
    sigma_view,
    timestep_view,
)
from .levels import NoiseLevels
from .noise import ImageNoise
from .samplers import Step, StepNoise
from .schedules import sigmas as schedule_sigmas

SigmaSampler = Callable[[Denoise, torch.Tensor, Sequence[float], StepNoise], Iterator[Step]]
STRONGEST = 0.999  # a denoising strength of 1 counts as this
TRAINED = 1000  # timesteps of every model
LONGEST = 100_000  # steps of a schedule that is walked in part


class Course(Protocol):
    """A run that is decided and waits for a model and noise."""

    @property
    def steps(self) -> int:
        """How many steps `walk` yields."""

    def start(self, noise: torch.Tensor, init: torch.Tensor | None = None) -> torch.Tensor:
        """x (B, C, H, W) to start from: scaled noise, over the latents of a picture if it starts from one."""

    def walk(self, guided: Guided, x: torch.Tensor, noise: ImageNoise) -> Iterator[Step]:
        """The steps one by one; each asks the guided model."""


@dataclass(frozen=True)
class Walker:
    """How a sampler over sigmas is run: `noise` is drawn per step, or from one Brownian path per picture."""

    sampler: SigmaSampler
    noise: Literal["step", "brownian"] = "step"
    consistency: bool = False


SIGMA_SAMPLERS: Mapping[str, Walker] = MappingProxyType(
    {
        "Euler": Walker(samplers.euler),
        "Euler a": Walker(samplers.euler_ancestral),
        "DPM++ 2M": Walker(samplers.dpmpp_2m),
        "DPM++ 2M SDE": Walker(samplers.dpmpp_2m_sde, noise="brownian"),
        "LCM": Walker(samplers.lcm, consistency=True),
    }
)
TIMESTEP_SAMPLERS: Mapping[str, Callable[..., Iterator[Step]]] = MappingProxyType({"DDIM": samplers.ddim})


def plot_course(
    sampler: str,
    schedule: str,
    steps: int,
    alphas_cumprod: torch.Tensor,
    *,
    prediction: Prediction = "epsilon",
    strength: float | None = None,
    exactly: bool = False,
) -> Course:
    """The course of `sampler` on `schedule` ("Automatic" is the sampler's own) for a model of these noise levels.

    With `strength` (0..1) it starts from a picture and walks the last int(strength * steps) + 1 steps only, or, if
    `exactly`, as many steps as asked for out of a longer schedule. Raises UnknownName.
    """
    info, named = find_sampler(sampler)
    total, walked = (steps, None) if strength is None else img2img_steps(steps, strength, exactly=exactly)
    calls = (walked or total) * (2 if info.second_order else 1)
    if info.name in TIMESTEP_SAMPLERS:
        return _timestep_course(info.name, total, walked, alphas_cumprod, prediction, calls)
    if info.name not in SIGMA_SAMPLERS:
        raise UnknownName("Sampler", sampler, (known.name for known in SAMPLERS))
    walker = SIGMA_SAMPLERS[info.name]
    levels = NoiseLevels.of_model(alphas_cumprod)
    if walker.consistency:
        levels = levels.for_consistency()
    if named:
        schedule = named.label
    if schedule == "Automatic":
        schedule = info.default_schedule
    path = schedule_sigmas(schedule, total, levels)
    left_out = 0 if walked is None else total - walked
    return SigmaCourse(walker, levels, prediction, path[left_out:], calls, span=(path[-2], path[0]))


@dataclass(frozen=True)
class SigmaCourse:
    """A walk down sigmas, where the picture keeps its scale and noise is added to it."""

    walker: Walker
    levels: NoiseLevels
    prediction: Prediction
    sigmas: tuple[float, ...]
    calls: int
    """How many calls of the model the run counts as (P033)."""
    span: tuple[float, float]
    """The lowest and highest sigma of the whole schedule: the time over which Brownian noise runs."""

    @property
    def steps(self) -> int:
        return len(self.sigmas) - 1

    def start(self, noise: torch.Tensor, init: torch.Tensor | None = None) -> torch.Tensor:
        scaled = noise * self.sigmas[0]
        return scaled if init is None else init + scaled

    def walk(self, guided: Guided, x: torch.Tensor, noise: ImageNoise) -> Iterator[Step]:
        view = consistency_view(self.levels) if self.walker.consistency else sigma_view(self.levels, self.prediction)
        denoise = guided.through(Perspective(view, self.calls, self._elapsed))
        return self.walker.sampler(denoise, x, self.sigmas, self._step_noise(noise))

    def _elapsed(self, sigma: float) -> float:
        nearest = int((self.levels.sigmas - sigma).abs().argmin())
        return (TRAINED - 1 - nearest) / TRAINED

    def _step_noise(self, noise: ImageNoise) -> StepNoise:
        if self.walker.noise == "brownian":
            return noise.brownian(*self.span)
        return lambda sigma, sigma_next: noise.next()


@dataclass(frozen=True)
class TimestepCourse:
    """A walk down timesteps, where noise takes the place of signal."""

    sampler: Callable[..., Iterator[Step]]
    timesteps: tuple[int, ...]
    """Falling; the last is where the walk ends."""
    entry: int | None
    """The timestep at which a picture's latents are mixed with noise: one above the first of `timesteps`."""
    alphas_cumprod: tuple[float, ...]
    prediction: Prediction
    calls: int
    """How many calls of the model the run counts as."""

    @property
    def steps(self) -> int:
        return max(len(self.timesteps) - 1, 0)

    def start(self, noise: torch.Tensor, init: torch.Tensor | None = None) -> torch.Tensor:
        if init is None or self.entry is None:
            return noise
        alpha = self.alphas_cumprod[self.entry]
        return init * alpha**0.5 + noise * (1 - alpha) ** 0.5

    def walk(self, guided: Guided, x: torch.Tensor, noise: ImageNoise) -> Iterator[Step]:
        view = timestep_view(self.alphas_cumprod, self.prediction)
        predict_noise = guided.through(Perspective(view, self.calls, _elapsed, blends_first=True))
        return self.sampler(predict_noise, x, self.timesteps, self.alphas_cumprod, lambda t, t_next: noise.next())


def _elapsed(timestep: float) -> float:
    return (TRAINED - 1 - int(timestep)) / TRAINED


def _timestep_course(
    sampler: str, total: int, walked: int | None, alphas_cumprod: torch.Tensor, prediction: Prediction, calls: int
) -> TimestepCourse:
    alphas = tuple(alphas_cumprod.detach().double().cpu().tolist())
    rising = ddim_timesteps(total, len(alphas))
    entry = None
    if walked is not None:  # as A1111: noise of one timestep, and the walk starts from the timestep below it
        entry = rising[min(walked, len(rising)) - 1]
        rising = rising[: walked - 1]
    return TimestepCourse(TIMESTEP_SAMPLERS[sampler], rising[::-1], entry, alphas, prediction, calls)


def ddim_timesteps(steps: int, trained: int = 1000) -> tuple[int, ...]:
    """Rising timesteps, every (trained // steps)-th counted from 1; a few more than `steps` where it leaves a rest."""
    return tuple(min(t + 1, trained - 1) for t in range(0, trained, max(trained // steps, 1)))


def img2img_steps(steps: int, strength: float, *, exactly: bool = False) -> tuple[int, int]:
    """How many steps the whole schedule has, and how many of its last ones start from a picture.

    A1111's rule: int(strength * steps) + 1, also at strength 0; with `exactly`, all `steps` of a longer schedule.
    """
    strength = min(strength, STRONGEST)
    if exactly and strength > 0:
        return max(int(min(steps / strength, LONGEST)), steps), steps
    return steps, int(strength * steps) + 1
