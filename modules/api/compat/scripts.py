"""A1111's scripts on the wire: one chosen by `script_name`, and those that run with every picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, Field

from modules.params import SCRIPTS, Argument, BadRequest, Script, UnknownName, find_script, script_fields
from modules.params.scripts import NOT_BUILT, WITHOUT_EFFECT

from ..errors import Unsupported
from .payloads import Quirks


class ScriptArg(BaseModel):
    label: str | None = None
    value: Any = Field(None, description="What it is where it is not given.")
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    choices: list[str] | None = Field(None, description="What it may be; its place in the list will do too.")


class ScriptInfo(BaseModel):
    name: str
    is_alwayson: bool = False
    is_img2img: bool = False
    args: list[ScriptArg] = []


class ScriptLists(BaseModel):
    txt2img: list[str] = []
    img2img: list[str] = []


def script_lists() -> ScriptLists:
    """The names of the scripts of each task, in lower case as A1111 tells them."""
    return ScriptLists(txt2img=_names("txt2img"), img2img=_names("img2img"))


def script_infos() -> list[ScriptInfo]:
    """What each script takes; one that both tasks have is listed twice, as in A1111."""
    return [_info(script, task) for task in ("txt2img", "img2img") for script in SCRIPTS if task in script.tasks]


def chosen_script(payload: Quirks, task: str) -> dict[str, Any]:
    """The fields of the request that the payload's script asks for.

    Raises Unsupported for one that there is not, BadRequest for one of the other task and for wrong arguments.
    """
    name = (payload.script_name or "").strip()
    if name.casefold() in ("", "none"):
        return {}
    return script_fields(_found(name, task), payload.script_args or ())


def always_on_scripts(payload: Quirks, task: str) -> tuple[dict[str, Any], list[str]]:
    """The fields of the request that always-on scripts ask for, and those scripts and arguments that are passed over.

    A script that is not installed, or is for the other task, may be named while it is off; arguments may be more than
    it takes. Raises Unsupported, and BadRequest as `chosen_script`.
    """
    fields: dict[str, Any] = {}
    left_out: list[str] = []
    for name, script in (payload.alwayson_scripts or {}).items():
        arguments = script.get("args") if isinstance(script, Mapping) else script
        if not arguments or name.casefold() in (idle.casefold() for idle in WITHOUT_EFFECT):
            continue
        if not isinstance(arguments, Sequence) or isinstance(arguments, str):
            raise Unsupported(f'The arguments of script "{name}" are no list. Send {{"{name}": {{"args": [...]}}}}.')
        try:
            known = _found(name, task, always_on=True)
            fields |= script_fields(known, arguments)
        except (Unsupported, BadRequest):
            if arguments[0] not in (False, None):
                raise
            left_out.append(f"alwayson_scripts.{name}")
        else:
            if len(arguments) > (taken := len(known.arguments)):
                left_out.append(f"alwayson_scripts.{name}.args[{taken}:]")
    return fields, left_out


def _found(name: str, task: str, *, always_on: bool = False) -> Script:
    """The script of that name. Raises Unsupported for one that is not here, BadRequest for one used wrongly."""
    if name.casefold() in (known.casefold() for known in NOT_BUILT):
        raise Unsupported(f'Script "{name}" is not part of this version yet. Leave it out.')
    try:
        return find_script(name, task, always_on=always_on)
    except UnknownName as error:
        names = ", ".join(f'"{script.name}"' for script in SCRIPTS if script.is_always_on == always_on)
        raise Unsupported(f'Script "{name}" is not installed. Leave it out; there are: {names}.') from error


def _names(task: str) -> list[str]:
    return [script.name.casefold() for script in SCRIPTS if task in script.tasks]


def _info(script: Script, task: str) -> ScriptInfo:
    return ScriptInfo(
        name=script.name.casefold(),
        is_alwayson=script.is_always_on,
        is_img2img=task == "img2img",
        args=[_argument(argument) for argument in script.arguments],
    )


def _argument(argument: Argument) -> ScriptArg:
    choices = list(argument.choices) if argument.choices else None
    declared = argument.declared
    if declared is None:
        return ScriptArg(label=argument.label, value=argument.default, choices=choices)
    least, most, *step = declared.ui or (declared.ge, declared.le)
    return ScriptArg(
        label=declared.label,
        value=declared.default,
        minimum=least,
        maximum=most,
        step=step[0] if step else None,
        choices=choices,
    )
