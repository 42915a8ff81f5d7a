"""The course of one run: which noise levels it passes, where it starts, and who walks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

import torch

from modules.params import SAMPLERS, SamplerInfo, UnknownName, find_sampler

from . import samplers
from .denoisers import Guided, Perspective, Prediction, View, consistency_view, sigma_view, timestep_view
from .levels import NoiseLevels, on_cpu
from .noise import ImageNoise
from .options import SamplerOptions
from .samplers import Churn, Step, StepNoise
from .schedules import sigmas as schedule_sigmas

SigmaFunction = Callable[..., Iterator[Step]]
"""`(denoise, x, sigmas, noise, **options)`, each sampler with the options that it knows."""
TimestepFunction = Callable[..., Iterator[Step]]
"""`(predict, x, timesteps, alphas_cumprod, noise, **options)`."""
STRONGEST = 0.999  # a denoising strength of 1 counts as this
TRAINED = 1000  # timesteps of every model
LONGEST = 100_000  # steps of a schedule that is walked in part


class Course(Protocol):
    """A run that is decided and waits for a model and noise."""

    @property
    def steps(self) -> int:
        """How many steps there are in `walk`: every `Step.index` is below it."""

    @property
    def view(self) -> View:
        """How its sampler sees the model that it was plotted for."""

    def start(self, noise: torch.Tensor, init: torch.Tensor | None = None, *, extra_noise: float = 0.0) -> torch.Tensor:
        """x (B, C, H, W) to start from: scaled noise, over the latents of a picture if it starts from one.

        `extra_noise` is how much of the noise is added once more to those, as a share of the picture's scale.
        """

    def walk(self, guided: Guided, x: torch.Tensor, noise: ImageNoise) -> Iterator[Step]:
        """The steps one by one; each asks the guided model."""


def _each_sigma(sigmas: torch.Tensor) -> int:
    return len(sigmas) - 1


@dataclass(frozen=True)
class SigmaSampler:
    """How a sampler over sigmas is run."""

    function: SigmaFunction
    consistency: bool = False
    """Whether it takes the model for a latent consistency model."""
    spaces_itself: bool = False
    """Whether it is given the ends and the number of calls, and finds its own steps between."""
    count: Callable[[torch.Tensor], int] = _each_sigma
    """How many steps it makes of the sigmas."""


SIGMA_SAMPLERS: Mapping[str, SigmaSampler] = MappingProxyType(
    {
        "DPM++ 2M": SigmaSampler(samplers.dpmpp_2m),
        "DPM++ SDE": SigmaSampler(samplers.dpmpp_sde),
        "DPM++ 2M SDE": SigmaSampler(samplers.dpmpp_2m_sde),
        "DPM++ 2M SDE Heun": SigmaSampler(samplers.dpmpp_2m_sde_heun),
        "DPM++ 2S a": SigmaSampler(samplers.dpmpp_2s_ancestral),
        "DPM++ 3M SDE": SigmaSampler(samplers.dpmpp_3m_sde),
        "Euler a": SigmaSampler(samplers.euler_ancestral),
        "Euler": SigmaSampler(samplers.euler),
        "LMS": SigmaSampler(samplers.lms),
        "Heun": SigmaSampler(samplers.heun),
        "DPM2": SigmaSampler(samplers.dpm2),
        "DPM2 a": SigmaSampler(samplers.dpm2_ancestral),
        "DPM fast": SigmaSampler(
            samplers.dpm_fast, spaces_itself=True, count=lambda sigmas: len(samplers.fast_orders(len(sigmas) - 1))
        ),
        "DPM adaptive": SigmaSampler(samplers.dpm_adaptive, spaces_itself=True),
        "Restart": SigmaSampler(samplers.restart, count=lambda sigmas: len(samplers.restart_steps(sigmas))),
        "LCM": SigmaSampler(samplers.lcm, consistency=True),
    }
)
TIMESTEP_SAMPLERS: Mapping[str, TimestepFunction] = MappingProxyType(
    {
        "DDIM": samplers.ddim,
        "DDIM CFG++": samplers.ddim_cfgpp,
        "PLMS": samplers.plms,
        "UniPC": samplers.unipc,
    }
)


def plot_course(
    sampler: str,
    schedule: str,
    steps: int,
    alphas_cumprod: torch.Tensor,
    *,
    prediction: Prediction = "epsilon",
    strength: float | None = None,
    exactly: bool = False,
    options: SamplerOptions | None = None,
    is_sdxl: bool = False,
) -> Course:
    """The course of `sampler` on `schedule` ("Automatic" is the sampler's own) for a model of these noise levels.

    With `strength` (0..1) it starts from a picture and walks the last int(strength * steps) + 1 steps only, or, if
    `exactly`, as many steps as asked for out of a longer schedule. Raises UnknownName.
    """
    info, named = find_sampler(sampler)
    total, walked = (steps, None) if strength is None else img2img_steps(steps, strength, exactly=exactly)
    wanted = _Wanted(info, total, walked, alphas_cumprod, prediction, options or SamplerOptions(), is_sdxl)
    if info.name in TIMESTEP_SAMPLERS:
        return _timestep_course(wanted)
    if info.name not in SIGMA_SAMPLERS:
        raise UnknownName("Sampler", sampler, (known.name for known in SAMPLERS))
    if named:
        schedule = named.label
    return _sigma_course(wanted, info.default_schedule if schedule == "Automatic" else schedule)


@dataclass(frozen=True, eq=False)
class _Wanted:
    """What a course is plotted from."""

    info: SamplerInfo
    total: int
    """Steps of the whole schedule."""
    walked: int | None
    """How many of its last ones are walked, if it starts from a picture."""
    alphas_cumprod: torch.Tensor
    prediction: Prediction
    options: SamplerOptions
    is_sdxl: bool

    @property
    def calls(self) -> int:
        return self.info.calls(self.walked or self.total)

    @property
    def discards_penultimate(self) -> bool:
        return self.info.discards_penultimate or self.options.discard_penultimate

    def keywords(self) -> dict[str, Any]:
        """Those of the options that the sampler knows, as it calls them."""
        options, info = self.options, self.info
        known: dict[str, Any] = {}
        if info.eta is not None:
            known["eta"] = info.eta if options.eta is None else options.eta
        if info.churns:
            known["churn"] = Churn(options.s_churn, options.s_tmin, options.s_tmax or float("inf"), options.s_noise)
        elif info.scales_noise:
            known["s_noise"] = options.s_noise
        if info.name == "DPM++ SDE":
            known["r"] = options.sde_r
        if info.name == "UniPC":
            known |= {
                "from_picture": self.walked is not None,
                "variant": options.uni_pc_variant,
                "skip_type": options.uni_pc_skip_type,
                "order": options.uni_pc_order,
                "lower_order_final": options.uni_pc_lower_order_final,
            }
        return known


@dataclass(frozen=True, eq=False)
class SigmaCourse:
    """A walk down sigmas, where the picture keeps its scale and noise is added to it."""

    sampler: SigmaSampler
    levels: NoiseLevels
    prediction: Prediction
    sigmas: torch.Tensor
    """(n + 1,) float32, falling: those of the schedule that are walked."""
    calls: int
    """How many calls of the model the run counts as (P033)."""
    path: torch.Tensor
    """What the sampler is given of the sigmas: all, or only where its own steps begin and end."""
    span: tuple[float, float] | None
    """The time over which Brownian noise runs, for samplers of such noise: the whole schedule's, zero left out."""
    keywords: Mapping[str, Any]
    sgm_noise: bool = False

    @property
    def steps(self) -> int:
        return self.sampler.count(self.sigmas)

    def start(self, noise: torch.Tensor, init: torch.Tensor | None = None, *, extra_noise: float = 0.0) -> torch.Tensor:
        highest = self.sigmas[0]
        if init is None:
            return noise * ((1.0 + highest**2.0).sqrt() if self.sgm_noise else highest)
        x = init + noise * highest
        return x + noise * extra_noise if extra_noise else x

    @property
    def view(self) -> View:
        return consistency_view(self.levels) if self.sampler.consistency else sigma_view(self.levels, self.prediction)

    def walk(self, guided: Guided, x: torch.Tensor, noise: ImageNoise) -> Iterator[Step]:
        denoise = guided.through(Perspective(self.view, self.calls, self._elapsed))
        return self.sampler.function(denoise, x, self.path, self._step_noise(noise), **self.keywords)

    def _elapsed(self, sigma: float) -> float:
        nearest = int((self.levels.sigmas - sigma).abs().argmin())
        return (TRAINED - 1 - nearest) / TRAINED

    def _step_noise(self, noise: ImageNoise) -> StepNoise:
        if self.span is None:
            return lambda sigma, sigma_next: noise.next()
        increment = noise.brownian(*self.span)
        return lambda sigma, sigma_next: increment(float(sigma), float(sigma_next))


def _sigma_course(wanted: _Wanted, schedule: str) -> SigmaCourse:
    info, options = wanted.info, wanted.options
    sampler = SIGMA_SAMPLERS[info.name]
    if sampler.consistency:
        levels = NoiseLevels.of_consistency_model(wanted.alphas_cumprod)
    else:
        levels = NoiseLevels.of_model(wanted.alphas_cumprod, quantize=options.quantize)
    more = int(wanted.discards_penultimate)
    whole = schedule_sigmas(schedule, wanted.total + more, levels, options=options, is_sdxl=wanted.is_sdxl)
    if wanted.discards_penultimate:
        whole = torch.cat([whole[:-2], whole[-1:]])
    walked = whole if wanted.walked is None else whole[wanted.total - wanted.walked :]
    keywords, path = wanted.keywords(), walked
    if sampler.spaces_itself:
        keywords["calls"] = wanted.total if wanted.walked is None else len(walked) - 1
        ends = (levels.sigma_max, levels.sigma_min) if wanted.walked is None else (walked[0], walked[-2])
        path = torch.tensor([float(end) for end in ends])
    return SigmaCourse(
        sampler,
        levels,
        wanted.prediction,
        sigmas=walked,
        calls=wanted.calls,
        path=path,
        span=(whole[whole > 0].min().item(), whole.max().item()) if info.brownian else None,
        keywords=keywords,
        sgm_noise=options.sgm_noise_multiplier,
    )


@dataclass(frozen=True, eq=False)
class TimestepCourse:
    """A walk down timesteps, where noise takes the place of signal."""

    sampler: TimestepFunction
    timesteps: tuple[int, ...]
    """Falling; the last is where the walk ends."""
    entry: int | None
    """The timestep at which a picture's latents are mixed with noise: one above the first of `timesteps`."""
    alphas_cumprod: torch.Tensor
    """(T,), in the precision that is computed in."""
    prediction: Prediction
    calls: int
    """How many calls of the model the run counts as."""
    keywords: Mapping[str, Any]

    @property
    def steps(self) -> int:
        if self.sampler is samplers.unipc:
            return len(self.timesteps)
        return max(len(self.timesteps) - 1, 0)

    def start(self, noise: torch.Tensor, init: torch.Tensor | None = None, *, extra_noise: float = 0.0) -> torch.Tensor:
        if init is None or self.entry is None:
            return noise
        alpha = self.alphas_cumprod[self.entry]
        scale, rest = alpha.sqrt().to(noise.dtype), (1 - alpha).sqrt().to(noise.dtype)
        x = init * scale + noise * rest
        return x + noise * extra_noise * scale if extra_noise else x

    @property
    def view(self) -> View:
        return timestep_view(self.alphas_cumprod, self.prediction)

    def walk(self, guided: Guided, x: torch.Tensor, noise: ImageNoise) -> Iterator[Step]:
        is_cfgpp = self.sampler is samplers.ddim_cfgpp
        scale = samplers.GUIDANCE_SHARE if is_cfgpp else 1.0
        denoiser = guided.through(Perspective(self.view, self.calls, _elapsed, blends_first=True, scale=scale))
        predict = denoiser.both if is_cfgpp else denoiser
        return self.sampler(
            predict, x, self.timesteps, self.alphas_cumprod, lambda t, t_next: noise.next(), **self.keywords
        )


def _elapsed(timestep: float) -> float:
    return (TRAINED - 1 - int(timestep)) / TRAINED


def _timestep_course(wanted: _Wanted) -> TimestepCourse:
    alphas = on_cpu(wanted.alphas_cumprod)
    rising = ddim_timesteps(wanted.total + int(wanted.options.discard_penultimate), len(alphas))
    entry = None
    if wanted.walked is not None:  # as A1111: noise of one timestep, and the walk starts from the timestep below it
        entry = rising[min(wanted.walked, len(rising)) - 1]
        rising = rising[: wanted.walked - 1]
    return TimestepCourse(
        TIMESTEP_SAMPLERS[wanted.info.name],
        rising[::-1],
        entry,
        alphas,
        wanted.prediction,
        calls=wanted.calls,
        keywords=wanted.keywords(),
    )


def ddim_timesteps(steps: int, trained: int = TRAINED) -> tuple[int, ...]:
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
