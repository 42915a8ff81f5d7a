"""Samplers and schedules as data: names, aliases and what a sampler does when nothing is chosen.

The algorithms live in `modules.sampling`; this table is what requests, controls and infotext speak of.
"""

from __future__ import annotations

from dataclasses import dataclass

from .errors import UnknownName


@dataclass(frozen=True)
class ScheduleInfo:
    """A noise schedule: `label` is what a person reads, `name` what A1111's API calls it.

    `rho` is the default of the exponent that shapes it, for those that have one.
    """

    label: str
    name: str
    aliases: tuple[str, ...] = ()
    rho: float | None = None


@dataclass(frozen=True)
class SamplerInfo:
    """A sampler: its default schedule, and what the rest of the program must know of it.

    `second_order` samplers call the model twice a step.
    `timesteps` samplers walk DDPM timesteps instead of sigmas, so that no schedule applies to them.
    """

    name: str
    aliases: tuple[str, ...] = ()
    default_schedule: str = "Automatic"
    second_order: bool = False
    timesteps: bool = False
    eta: float | None = None
    """How much fresh noise it adds when nothing is said, as a share; None where there is no such choice."""
    churns: bool = False
    """Whether it reads sigma churn, tmin and tmax."""
    scales_noise: bool = False
    """Whether it reads sigma noise."""
    ensd: bool = False
    """Whether A1111 says the eta noise seed delta in its infotext."""
    brownian: bool = False
    """Whether its noise is the increments of one Brownian path per picture."""
    discards_penultimate: bool = False
    """Whether it walks a schedule of one step more, the last sigma above zero left out."""
    adaptive: bool = False
    """Whether its steps depend on the picture, so that pictures made together differ from the same ones alone."""
    keeps_uncond: bool = False
    """Whether it reads what the negative prompt makes at every guidance scale, 1 included."""

    def calls(self, steps: int) -> int:
        """How many calls of the model so many steps count as, by which prompts are timed (P033)."""
        return steps * (2 if self.second_order else 1)


SCHEDULES: tuple[ScheduleInfo, ...] = (
    ScheduleInfo("Automatic", "automatic"),
    ScheduleInfo("Uniform", "uniform"),
    ScheduleInfo("Karras", "karras", rho=7.0),
    ScheduleInfo("Exponential", "exponential"),
    ScheduleInfo("Polyexponential", "polyexponential", rho=1.0),
    ScheduleInfo("SGM Uniform", "sgm_uniform", ("SGMUniform",)),
    ScheduleInfo("KL Optimal", "kl_optimal"),
    ScheduleInfo("Align Your Steps", "align_your_steps"),
    ScheduleInfo("Simple", "simple"),
    ScheduleInfo("Normal", "normal"),
    ScheduleInfo("DDIM", "ddim"),
    ScheduleInfo("Beta", "beta"),
)

SAMPLERS: tuple[SamplerInfo, ...] = (
    SamplerInfo("DPM++ 2M", ("k_dpmpp_2m",), "Karras"),
    SamplerInfo("DPM++ SDE", ("k_dpmpp_sde",), "Karras", True, eta=1, scales_noise=True, brownian=True),
    SamplerInfo("DPM++ 2M SDE", ("k_dpmpp_2m_sde",), "Exponential", eta=1, scales_noise=True, brownian=True),
    SamplerInfo("DPM++ 2M SDE Heun", ("k_dpmpp_2m_sde_heun",), "Exponential", eta=1, scales_noise=True, brownian=True),
    SamplerInfo("DPM++ 2S a", ("k_dpmpp_2s_a",), "Karras", True, eta=1, scales_noise=True, ensd=True),
    SamplerInfo(
        "DPM++ 3M SDE",
        ("k_dpmpp_3m_sde",),
        "Exponential",
        eta=1,
        scales_noise=True,
        brownian=True,
        discards_penultimate=True,
    ),
    SamplerInfo("Euler a", ("k_euler_a", "k_euler_ancestral"), eta=1, ensd=True),
    SamplerInfo("Euler", ("k_euler",), churns=True, scales_noise=True),
    SamplerInfo("LMS", ("k_lms",)),
    SamplerInfo("Heun", ("k_heun",), second_order=True, churns=True, scales_noise=True),
    SamplerInfo("DPM2", ("k_dpm_2",), "Karras", True, churns=True, scales_noise=True, discards_penultimate=True),
    SamplerInfo(
        "DPM2 a", ("k_dpm_2_a",), "Karras", True, eta=1, scales_noise=True, ensd=True, discards_penultimate=True
    ),
    SamplerInfo("DPM fast", ("k_dpm_fast",), eta=1, scales_noise=True, ensd=True),
    SamplerInfo("DPM adaptive", ("k_dpm_ad",), eta=1, ensd=True, adaptive=True),
    SamplerInfo("Restart", ("restart",), "Karras", True),
    SamplerInfo("DDIM", ("ddim",), timesteps=True, eta=0),
    SamplerInfo("DDIM CFG++", ("ddim_cfgpp",), timesteps=True, eta=0, keeps_uncond=True),
    SamplerInfo("PLMS", ("plms",), timesteps=True),
    SamplerInfo("UniPC", ("unipc",), timesteps=True),
    SamplerInfo("LCM", ("k_lcm",)),
)

JOINED_ALIASES = {"_ka": "Karras", "_exp": "Exponential"}
"""What A1111 before 1.9 put after an alias: "k_dpmpp_2m_ka"."""


def find_schedule(name: str | None) -> ScheduleInfo:
    """The schedule a label, A1111 name or alias stands for, whatever its case; nothing means Automatic."""
    wanted = (name or "Automatic").strip().casefold()
    for schedule in SCHEDULES:
        if wanted in _keys(schedule.label, schedule.name, *schedule.aliases):
            return schedule
    raise UnknownName("Schedule type", name or "", (schedule.label for schedule in SCHEDULES))


def find_sampler(name: str) -> tuple[SamplerInfo, ScheduleInfo | None]:
    """The sampler a name stands for, and the schedule named inside it.

    Before A1111 1.9 the two were one word: "DPM++ 2M Karras" still means DPM++ 2M on Karras.
    Raises UnknownName with the nearest sampler.
    """
    wanted = name.strip().casefold()
    if sampler := _by_key(wanted):
        return sampler, None
    for schedule in SCHEDULES:
        for suffix in _keys(schedule.label, schedule.name, *schedule.aliases):
            if wanted.endswith(" " + suffix) and (sampler := _by_key(wanted.removesuffix(suffix).rstrip())):
                return sampler, schedule
    for suffix, label in JOINED_ALIASES.items():
        if wanted.endswith(suffix) and (sampler := _by_key(wanted.removesuffix(suffix))):
            return sampler, find_schedule(label)
    raise UnknownName("Sampler", name, (sampler.name for sampler in SAMPLERS))


def _by_key(wanted: str) -> SamplerInfo | None:
    return next((sampler for sampler in SAMPLERS if wanted in _keys(sampler.name, *sampler.aliases)), None)


def _keys(*names: str) -> set[str]:
    return {name.casefold() for name in names}
