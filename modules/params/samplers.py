"""Samplers and schedules as data: names, aliases and what a sampler does when nothing is chosen.

The algorithms live in `modules.sampling`; this table is what requests, controls and infotext speak of.
"""

from __future__ import annotations

from dataclasses import dataclass

from .errors import UnknownName


@dataclass(frozen=True)
class ScheduleInfo:
    """A noise schedule: `label` is what a person reads, `name` what A1111's API calls it."""

    label: str
    name: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class SamplerInfo:
    """A sampler: its default schedule, and what the prompt language must know of it.

    `second_order` samplers call the model twice a step, and A1111 counts prompt schedules in calls.
    `timesteps` samplers walk DDPM timesteps instead of sigmas, so that no schedule applies to them.
    """

    name: str
    aliases: tuple[str, ...] = ()
    default_schedule: str = "Automatic"
    second_order: bool = False
    timesteps: bool = False


SCHEDULES: tuple[ScheduleInfo, ...] = (
    ScheduleInfo("Automatic", "automatic"),
    ScheduleInfo("Uniform", "uniform"),
    ScheduleInfo("Karras", "karras"),
    ScheduleInfo("Exponential", "exponential"),
    ScheduleInfo("SGM Uniform", "sgm_uniform", ("SGMUniform",)),
    ScheduleInfo("Simple", "simple"),
)

SAMPLERS: tuple[SamplerInfo, ...] = (
    SamplerInfo("DPM++ 2M", ("k_dpmpp_2m",), default_schedule="Karras"),
    SamplerInfo("DPM++ 2M SDE", ("k_dpmpp_2m_sde",), default_schedule="Exponential"),
    SamplerInfo("Euler a", ("k_euler_a", "k_euler_ancestral")),
    SamplerInfo("Euler", ("k_euler",)),
    SamplerInfo("LCM", ("k_lcm",)),
    SamplerInfo("DDIM", ("ddim",), timesteps=True),
)


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
    raise UnknownName("Sampler", name, (sampler.name for sampler in SAMPLERS))


def _by_key(wanted: str) -> SamplerInfo | None:
    return next((sampler for sampler in SAMPLERS if wanted in _keys(sampler.name, *sampler.aliases)), None)


def _keys(*names: str) -> set[str]:
    return {name.casefold() for name in names}
