"""From a picture's text back to the controls that would make it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .declare import Group, Param, parameters
from .errors import UnknownName
from .infotext import parse_infotext, split_sizes
from .requests import Img2ImgRequest, Txt2ImgRequest
from .samplers import find_sampler, find_schedule
from .settings import Settings


@dataclass(frozen=True)
class Pasted:
    """Request fields and settings that a text asks for, and what in it could not be used."""

    fields: Mapping[str, Any]
    settings: Mapping[str, Any]
    notices: tuple[str, ...] = ()


def request_from_infotext(text: str, task: str = "txt2img") -> Pasted:
    """What `text` sets: every field of the task's request that has an infotext key, and the settings likewise.

    Settings a text of A1111's leaves out have their defaults there, so they are set too: clip skip 1, and the
    noise source NV, since a text without `RNG` (or with `RNG: GPU`) was made with an NVIDIA GPU's noise.
    """
    info = parse_infotext(text)
    values = split_sizes(info.fields)
    notices: list[str] = []
    fields: dict[str, Any] = {"prompt": info.prompt, "negative_prompt": info.negative_prompt}
    request = Img2ImgRequest if task == "img2img" else Txt2ImgRequest
    fields |= _typed(request, values, notices)
    _name_sampler(fields, notices)
    if not info.fields:
        return Pasted(fields, {}, tuple(notices))
    settings: dict[str, Any] = {"CLIP_stop_at_last_layers": 1, "randn_source": "NV", "emphasis": "Original"}
    settings |= _typed(Settings, values, notices)
    if settings["randn_source"] == "GPU":
        settings["randn_source"] = "NV"
    if model := values.get("Model hash") or values.get("Model"):
        settings["sd_model_checkpoint"] = model
    return Pasted(fields, settings, tuple(notices))


def _typed(group: type[Group], values: Mapping[str, str], notices: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, declared in parameters(group).items():
        if declared.infotext is None or declared.infotext not in values:
            continue
        text = values[declared.infotext]
        try:
            value = _convert(declared, text)
        except ValueError:
            notices.append(f"{declared.label}: {text!r} is not {_expected(declared)}; left as it was.")
            continue
        if problem := _problem(declared, value):
            notices.append(f"{declared.label}: {text!r} {problem}; left as it was.")
        else:
            found[name] = value
    return found


def _problem(declared: Param, value: Any) -> str:
    """Why a parameter cannot have the value, or "": a text may come from a program with other limits."""
    if declared.ge is not None and declared.le is not None and not declared.ge <= value <= declared.le:
        return f"is not within {declared.ge} to {declared.le}"
    if isinstance(declared.choices, tuple) and value not in declared.choices:
        return f"is none of {', '.join(declared.choices)}"
    return ""


def _convert(declared: Param, text: str) -> Any:
    """The value that `text` stands for. Raises ValueError."""
    if declared.names:
        return declared.names.index(text)
    if declared.kind is bool:
        return ("false", "true").index(text.lower()) == 1
    return {int: int, float: float}.get(declared.kind, str)(text)


def _expected(declared: Param) -> str:
    if declared.names:
        return f"one of {', '.join(declared.names)}"
    return "True or False" if declared.kind is bool else "a number"


def _name_sampler(fields: dict[str, Any], notices: list[str]) -> None:
    """Split an old joined sampler name, and leave out names this program does not have."""
    if name := fields.pop("sampler_name", None):
        try:
            sampler, schedule = find_sampler(name)
        except UnknownName as error:
            notices.append(str(error))
        else:
            fields["sampler_name"] = sampler.name
            fields.setdefault("scheduler", schedule.label if schedule else "Automatic")
    if name := fields.pop("scheduler", None):
        try:
            fields["scheduler"] = find_schedule(name).label
        except UnknownName as error:
            notices.append(str(error))
