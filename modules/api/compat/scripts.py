"""A1111's scripts on the wire: one chosen by `script_name`, and those that run with every picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from ..errors import Unsupported
from .payloads import Quirks

NOT_BUILT = frozenset(
    {
        *("x/y/z plot", "prompt matrix", "prompts from file or textbox", "loopback", "outpainting mk2"),
        *("poor man's outpainting", "img2img alternative test", "custom code", "hypertile", "soft inpainting"),
    }
)
"""Scripts that A1111 has from the start."""

PAGE_ONLY = frozenset({"refiner", "seed", "sampler", "extra options", "comments", "api payload", "extra networks"})
"""Always-on scripts of A1111 that act on its page alone: in the API the fields of the payload say the same."""


class ScriptArg(BaseModel):
    label: str | None = None
    value: Any = None
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    choices: list[str] | None = None


class ScriptInfo(BaseModel):
    name: str
    is_alwayson: bool = False
    is_img2img: bool = False
    args: list[ScriptArg] = []


class ScriptLists(BaseModel):
    txt2img: list[str] = []
    img2img: list[str] = []


SCRIPTS: tuple[ScriptInfo, ...] = ()
"""The scripts there are, their arguments in the order in which `script_args` gives them."""


def script_lists() -> ScriptLists:
    """The names of the scripts of each task, in lower case as A1111 tells them."""
    return ScriptLists(
        txt2img=[script.name for script in SCRIPTS if not script.is_img2img],
        img2img=[script.name for script in SCRIPTS if script.is_img2img],
    )


def script_infos() -> list[ScriptInfo]:
    """What each script takes."""
    return list(SCRIPTS)


def chosen_script(payload: Quirks, task: str) -> dict[str, Any]:
    """The fields of the request that the payload's script asks for. Raises Unsupported for one that there is not."""
    name = (payload.script_name or "").strip()
    if name.casefold() in ("", "none"):
        return {}
    raise Unsupported(_missing(name, "Leave script_name empty."))


def scripts_left_out(payload: Quirks) -> list[str]:
    """The always-on scripts of the payload that are passed over. Raises Unsupported where that changes the picture."""
    left_out = []
    for name, script in (payload.alwayson_scripts or {}).items():
        arguments = script.get("args") if isinstance(script, Mapping) else script
        if name.casefold() in PAGE_ONLY or not arguments:
            continue
        if name.casefold() in (known.name for known in SCRIPTS):
            raise Unsupported(f'"{name}" is chosen by script_name, with script_args. Leave it out of alwayson_scripts.')
        if not _is_off(arguments):
            raise Unsupported(_missing(name, "Leave it out of alwayson_scripts."))
        left_out.append(f"alwayson_scripts.{name}")
    return left_out


def _is_off(arguments: Any) -> bool:
    """Whether an extension's arguments begin with the switch that turns it off."""
    return isinstance(arguments, Sequence) and arguments[0] in (False, None)


def _missing(name: str, advice: str) -> str:
    if name.casefold() in NOT_BUILT:
        return f'Script "{name}" is not part of this version yet. {advice}'
    known = ", ".join(f'"{script.name}"' for script in SCRIPTS) or "none"
    return f'Script "{name}" is not installed; there is {known}. {advice}'
