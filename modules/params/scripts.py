"""A1111's built-in scripts, as its API names them: which there are, and what their positional arguments say.

A script here is no code that runs beside the rest: it is a group of a request's parameters. `script_fields` translates
what `script_args`, or the `args` of `alwayson_scripts`, hold into these, for the request to be made and checked as any
other. `GET /sdapi/v1/scripts` and `script-info` are drawn from `SCRIPTS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .declare import Param, parameters
from .errors import BadRequest, UnknownName
from .requests import Img2ImgRequest, Txt2ImgRequest
from .samplers import SAMPLERS, SCHEDULES
from .script_groups import SD_UPSCALE

TASKS = ("txt2img", "img2img")


@dataclass(frozen=True)
class Argument:
    """One positional argument: the parameter that it sets, or what it is otherwise."""

    field: str | None = None
    """The request's parameter; None says nothing of the picture, or is the switch of others."""
    label: str = ""
    default: Any = ""
    switch: int | None = None
    """The place of the argument that has to be true for this one to count."""

    @property
    def declared(self) -> Param | None:
        """The parameter's declaration: its label, default, limits and choices."""
        return _DECLARED[self.field] if self.field else None

    @property
    def choices(self) -> tuple[str, ...] | None:
        """What it may be, where that is a fixed list; clients may send a place in it too."""
        named = self.declared.choices if self.declared else None
        return _LISTS.get(named) if isinstance(named, str) else named


@dataclass(frozen=True)
class Script:
    """A script: `name` as A1111 titles it (it lists names in lower case, and takes any case)."""

    name: str
    tasks: tuple[str, ...]
    arguments: tuple[Argument, ...]
    is_always_on: bool = False
    """Named in `alwayson_scripts`; otherwise it is chosen by `script_name`."""


SCRIPTS: tuple[Script, ...] = (
    Script(
        SD_UPSCALE,
        ("img2img",),
        (
            Argument(label="Will upscale the image by the selected scale factor"),
            Argument("sd_upscale_overlap"),
            Argument("sd_upscale_upscaler"),
            Argument("sd_upscale_scale"),
        ),
    ),
    Script(
        "Refiner",
        TASKS,
        (
            Argument(label="Refiner", default=False),
            Argument("refiner_checkpoint", switch=0),
            Argument("refiner_switch_at", switch=0),
        ),
        is_always_on=True,
    ),
    Script(
        "Soft Inpainting",
        ("img2img",),
        (
            Argument("soft_inpainting"),
            Argument("soft_inpainting_schedule_bias", switch=0),
            Argument("soft_inpainting_preservation_strength", switch=0),
            Argument("soft_inpainting_transition_contrast_boost", switch=0),
            Argument("soft_inpainting_mask_influence", switch=0),
            Argument("soft_inpainting_difference_threshold", switch=0),
            Argument("soft_inpainting_difference_contrast", switch=0),
        ),
        is_always_on=True,
    ),
    Script("Sampler", TASKS, (Argument("steps"), Argument("sampler_name"), Argument("scheduler")), is_always_on=True),
    Script(
        "Seed",
        TASKS,
        (
            Argument("seed"),
            Argument(label="Extra", default=False),
            Argument("subseed", switch=1),
            Argument("subseed_strength", switch=1),
            Argument("seed_resize_from_w", switch=1),
            Argument("seed_resize_from_h", switch=1),
        ),
        is_always_on=True,
    ),
)

NOT_BUILT = (
    *("X/Y/Z plot", "Prompt matrix", "Prompts from file or textbox", "Loopback", "Outpainting mk2"),
    *("Poor man's outpainting", "img2img alternative test", "Custom code", "Hypertile"),
)
"""Scripts that A1111 has from the start and this version does not."""

WITHOUT_EFFECT = ("Extra options", "Comments", "API payload", "Extra networks")
"""Always-on scripts of A1111 that change no picture through the API."""


def find_script(name: str, task: str, *, always_on: bool = False) -> Script:
    """The script of a name, whatever its case, for a task: one to be chosen, or one that is always on.

    Raises BadRequest where it is for something else or not built yet, UnknownName with the nearest name otherwise.
    """
    wanted = name.strip().casefold()
    if found := next((script for script in SCRIPTS if script.name.casefold() == wanted), None):
        if task not in found.tasks:
            raise BadRequest(f'Script "{found.name}" is for {" and ".join(found.tasks)}. Send it there.')
        if found.is_always_on != always_on:
            way = "alwayson_scripts, by its name" if found.is_always_on else "script_name and script_args"
            raise BadRequest(f'Script "{found.name}" is asked for by {way}.')
        return found
    if wanted in (known.casefold() for known in NOT_BUILT):
        raise BadRequest(f'Script "{name}" is not part of this version yet. Leave it out.')
    raise UnknownName("Script", name, (script.name for script in SCRIPTS if script.is_always_on == always_on))


def script_fields(script: Script, args: Sequence[Any]) -> dict[str, Any]:
    """The request's fields that the arguments ask for, values as they came.

    Arguments that are missing have their defaults, those whose switch is off set nothing. Those that are too many are
    left out of a script that is always on, as in A1111. Raises BadRequest where a chosen one has too many, or where a
    number is no place in a list.
    """
    if len(args) > len(script.arguments) and not script.is_always_on:
        raise BadRequest(
            f'Script "{script.name}" takes {len(script.arguments)} arguments and got {len(args)}. '
            f"They are: {', '.join(_title(argument) for argument in script.arguments)}."
        )
    given = dict(enumerate(args))
    fields: dict[str, Any] = {} if script.is_always_on else {"script": script.name}
    for place, argument in enumerate(script.arguments):
        is_on = argument.switch is None or bool(given.get(argument.switch, False))
        if argument.field and place in given and given[place] is not None and is_on:
            fields[argument.field] = _value(script, argument, given[place])
    return fields


def _value(script: Script, argument: Argument, value: Any) -> Any:
    """The value, or the choice at the place that it names, as A1111's radio buttons send it."""
    choices = argument.choices
    if choices is None or isinstance(value, bool) or not isinstance(value, int):
        return value
    if not 0 <= value < len(choices):
        raise BadRequest(
            f'{_title(argument)} of script "{script.name}" is {value}; the places of its {len(choices)} choices are '
            f"0 to {len(choices) - 1}: {', '.join(choices)}."
        )
    return choices[value]


def _title(argument: Argument) -> str:
    return argument.declared.label if argument.declared else argument.label


_DECLARED: Mapping[str, Param] = parameters(Txt2ImgRequest) | parameters(Img2ImgRequest)
_LISTS: Mapping[str, tuple[str, ...]] = {
    "samplers": tuple(sampler.name for sampler in SAMPLERS),
    "schedules": tuple(schedule.label for schedule in SCHEDULES),
}
