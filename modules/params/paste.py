"""From a picture's text back to the controls that would make it again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from .completion import complete
from .declare import Group, Param, parameters
from .errors import UnknownName
from .groups import SAME_SAMPLER, SAME_SCHEDULE
from .infotext import Infotext, parse_infotext
from .requests import Img2ImgRequest, Txt2ImgRequest
from .samplers import find_sampler, find_schedule
from .script_groups import SD_UPSCALE
from .settings import Settings

Found = TypeVar("Found")
SAME_CHECKPOINT = "Use same checkpoint"

_OFF: Mapping[str, Any] = MappingProxyType(
    {
        "subseed_strength": 0.0,
        "seed_resize_from_w": 0,
        "seed_resize_from_h": 0,
        "tiling": False,
        "refiner_checkpoint": "",
    }
)
"""What a text names only where it is in use."""

_HIRES_KEYS = ("Hires upscale", "Hires upscaler", "Hires resize", "First pass size")
_MASK_KEYS = ("Mask mode", "Masked content", "Inpaint area", "Masked area padding")
_SD_UPSCALE_KEY = "SD upscale upscaler"
_LATENT = "Latent"
_FOREIGN = {
    "Face restoration": None,
    "FP8 weight": "Disable",
    "VAE Encoder": "Full",
    "VAE Decoder": "Full",
}
_EXTENSIONS = (
    "ControlNet",
    "ADetailer",
    "Script",
    "Tiled Diffusion",
    "Dynamic thresholding",
    "FreeU",
)


class Problem(NamedTuple):
    """Why a text cannot set a field or setting; no field where it is about none."""

    field: str
    why: str | UnknownName


@dataclass(frozen=True)
class Pasted:
    """Request fields and settings that a text asks for, and what in it could not be used.

    `unknown` are those names of samplers and schedules in it that there are not; `notices` tell them too.
    """

    fields: Mapping[str, Any]
    settings: Mapping[str, Any]
    notices: tuple[str, ...] = ()
    unknown: tuple[UnknownName, ...] = ()


def request_from_infotext(text: str, task: str = "txt2img", given: Collection[str] = ()) -> Pasted:
    """What `text` sets: every field of the task's request that has an infotext key, and the settings likewise.

    What a text leaves out was at its default when the picture was made, so it is set too: every setting that has a
    key, hires fix, variation, tiling and the refiner off. The noise source is NV where the text has none or the GPU's.
    A text that is a prompt alone sets the prompts. Checkpoint, VAE and refiner are named as the text names them.
    Nothing is set, or said, of fields that are `given` otherwise.
    """
    return request_from_info(parse_infotext(text), task, given)


def request_from_info(
    info: Infotext, task: str = "txt2img", given: Collection[str] = (), *, backcompat: bool = True
) -> Pasted:
    """As `request_from_infotext`, of a text that is read already; `backcompat` as in `complete`."""
    whole = complete(info, backcompat=backcompat)
    fields: dict[str, Any] = {"prompt": whole.prompt, "negative_prompt": whole.negative_prompt}
    settings: dict[str, Any] = {}
    problems: list[Problem] = []
    if info.fields:
        fields |= _drawn(info, whole, task, problems)
        settings = _settings(whole.fields, problems)
    whys = [why for field, why in problems if field not in given]
    return Pasted(
        fields={name: value for name, value in fields.items() if name not in given},
        settings=settings,
        notices=tuple(f"{why} It is passed over." if isinstance(why, UnknownName) else why for why in whys),
        unknown=tuple(why for why in whys if isinstance(why, UnknownName)),
    )


def _drawn(info: Infotext, whole: Infotext, task: str, problems: list[Problem]) -> dict[str, Any]:
    """The fields besides the prompts; `whole` is `info` with what it leaves unsaid."""
    request = Img2ImgRequest if task == "img2img" else Txt2ImgRequest
    fields = _OFF | _typed(request, whole.fields, problems)
    _name_sampler(fields, problems)
    if request is Txt2ImgRequest:
        fields = _with_hires(fields, info, problems)
    else:
        fields.setdefault("soft_inpainting", False)
        fields["script"] = SD_UPSCALE if _SD_UPSCALE_KEY in info.fields else ""
        if any(key in info.fields for key in _MASK_KEYS):
            fields.setdefault("mask_blur", 0)  # named only where there is some
    _tell_foreign(info.fields, problems)
    return fields


def _settings(values: Mapping[str, str], problems: list[Problem]) -> dict[str, Any]:
    settings = {name: each.default for name, each in parameters(Settings).items() if each.infotext is not None}
    settings |= _typed(Settings, values, problems)
    if settings["randn_source"] == "GPU":
        settings["randn_source"] = "NV"
    if model := values.get("Model hash") or values.get("Model"):
        settings["sd_model_checkpoint"] = model
    if vae := values.get("VAE"):
        settings["sd_vae"] = vae
    return settings


def _typed(group: type[Group], values: Mapping[str, str], problems: list[Problem]) -> dict[str, Any]:
    """The parameters of a group that the values set, in their types; what cannot be is told and left out."""
    found: dict[str, Any] = {}
    for name, declared in parameters(group).items():
        if declared.infotext is None or declared.infotext not in values:
            continue
        text = values[declared.infotext]
        try:
            value = _convert(declared, text)
        except (ValueError, OverflowError):
            why = f"is not {_expected(declared)}"
        else:
            why = _limit(declared, value)
        if why:
            problems.append(Problem(name, f"{declared.label}: {text[:80]!r} {why}; passed over."))
        else:
            found[name] = value
    return found


def _limit(declared: Param, value: Any) -> str:
    """Why a parameter cannot have the value, or "": a text may come from a program with other limits."""
    if declared.ge is not None and declared.le is not None and not declared.ge <= value <= declared.le:
        return f"is not within {declared.ge} to {declared.le}"
    if isinstance(declared.choices, tuple) and not declared.names and value not in declared.choices:
        return f"is none of {', '.join(declared.choices)}"
    return ""


def _convert(declared: Param, text: str) -> Any:
    """The value that `text` stands for. Raises ValueError."""
    if declared.names:
        return declared.names.index(text)
    if declared.kind is bool:
        return ("false", "true").index(text.lower()) == 1
    if declared.kind is int and text.endswith(".0"):
        return int(text.removesuffix(".0"))
    return {int: int, float: float}.get(declared.kind, str)(text)


def _expected(declared: Param) -> str:
    if declared.names:
        return f"one of {', '.join(declared.names)}"
    return "True or False" if declared.kind is bool else "a number"


def _name_sampler(fields: dict[str, Any], problems: list[Problem]) -> None:
    """Split an old joined sampler name, and leave out names this program does not have."""
    schedule = fields.pop("scheduler", None)
    if name := fields.pop("sampler_name", None):
        found = _known("sampler_name", lambda: sampler_and_schedule(name, None, automatic=False), problems)
        if found:
            fields["sampler_name"], joined = found
            schedule = joined if joined != "Automatic" else schedule
    if schedule and (label := _known("scheduler", lambda: find_schedule(schedule).label, problems)):
        fields["scheduler"] = label


def sampler_and_schedule(sampler: str, schedule: str | None, *, automatic: bool = True) -> tuple[str, str]:
    """The names that A1111 1.10 shows for a text's `Sampler` and `Schedule type`.

    A schedule inside the sampler's name goes before the one beside it. With `automatic`, the schedule that the sampler
    has by default is shown as "Automatic". Raises UnknownName.
    """
    info, joined = find_sampler(sampler)
    label = (joined or find_schedule(schedule)).label
    return info.name, "Automatic" if automatic and label == info.default_schedule else label


def _with_hires(fields: dict[str, Any], info: Infotext, problems: list[Problem]) -> dict[str, Any]:
    """The fields with hires fix on, and all of its own; or with it off and none of them."""
    if "Denoising strength" not in info.fields or not any(key in info.fields for key in _HIRES_KEYS):
        plain = {name: value for name, value in fields.items() if not name.startswith("hr_")}
        plain.pop("denoising_strength", None)
        return plain | {"enable_hr": False}
    hires = {"hr_upscaler": _LATENT, "hr_second_pass_steps": 0, **fields, "enable_hr": True}
    if hires.get("hr_checkpoint_name") == SAME_CHECKPOINT:
        hires["hr_checkpoint_name"] = ""
    _name_hires_sampler(hires, problems)
    return hires


def _name_hires_sampler(fields: dict[str, Any], problems: list[Problem]) -> None:
    sampler, schedule = fields.pop("hr_sampler_name", SAME_SAMPLER), fields.pop("hr_scheduler", SAME_SCHEDULE)
    fields |= {"hr_sampler_name": "", "hr_scheduler": ""}
    if schedule not in ("", SAME_SCHEDULE):
        fields["hr_scheduler"] = _known("hr_scheduler", lambda: find_schedule(schedule).label, problems) or ""
    if sampler not in ("", SAME_SAMPLER):
        found = _known("hr_sampler_name", lambda: sampler_and_schedule(sampler, None, automatic=False), problems)
        fields["hr_sampler_name"], joined = found or ("", "Automatic")
        if joined != "Automatic":
            fields["hr_scheduler"] = joined


def _known(field: str, look_up: Callable[[], Found], problems: list[Problem]) -> Found | None:
    """What looking a name up gives; None where there is nothing of that name."""
    try:
        return look_up()
    except UnknownName as error:
        problems.append(Problem(field, error))
        return None


def _tell_foreign(fields: Mapping[str, str], problems: list[Problem]) -> None:
    """Name what shaped the picture and is not part of Tagbrush."""
    found = [key for key, usual in _FOREIGN.items() if key in fields and fields[key] != usual]
    found += [name for name in _EXTENSIONS if any(key == name or key.startswith(f"{name} ") for key in fields)]
    if found:
        why = f"The picture was made with {', '.join(found)} too, which Tagbrush does not take over."
        problems.append(Problem("", why))
