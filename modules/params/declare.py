"""How a parameter is declared: once, with everything that any part of the program asks of it.

From one line come validation, the OpenAPI schema, the control on the page, the infotext key and the
command-line flag. `ge` and `le` are limits of sense, `ui` is the slider's range.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo


class Group(BaseModel):
    """A frozen set of parameters; unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


@dataclass(frozen=True)
class Param:
    """What one declaration says, for those who draw, document or write the parameter."""

    name: str
    label: str
    default: Any
    kind: type
    infotext: str | None
    choices: str | tuple[str, ...] | None
    ge: float | None
    le: float | None
    ui: tuple[float, ...] | None
    names: tuple[str, ...]
    help: str


def param(
    default: Any,
    label: str,
    *,
    infotext: str | None = None,
    choices: str | tuple[str, ...] | None = None,
    ge: float | None = None,
    le: float | None = None,
    ui: tuple[float, ...] | None = None,
    names: tuple[str, ...] = (),
    max_length: int | None = None,
    help: str = "",
) -> Any:
    """A pydantic field that also carries its label, infotext key, choices and slider range.

    `choices` is a tuple of values, or the name of a list known only at run time ("samplers",
    "checkpoints"). `ui` is (minimum, maximum) or (minimum, maximum, step). `names` says what the numbers 0, 1, ...
    of a parameter stand for: people and infotexts read the name, the wire carries the number.
    """
    extra = {"infotext": infotext, "choices": choices, "ui": ui, "names": names or None}
    return Field(
        default,
        title=label,
        description=help or None,
        ge=ge,
        le=le,
        max_length=max_length,
        json_schema_extra={key: value for key, value in extra.items() if value is not None},
    )


def parameters(group: type[Group]) -> dict[str, Param]:
    """The declarations of a group by name, in order; fields not made by `param` are left out."""
    return {name: _declared(name, field) for name, field in group.model_fields.items() if field.title is not None}


def _declared(name: str, field: FieldInfo) -> Param:
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    limits = {bound: getattr(item, bound) for item in field.metadata for bound in ("ge", "le") if hasattr(item, bound)}
    return Param(
        name=name,
        label=field.title or name,
        default=field.get_default(call_default_factory=True),
        kind=_plain_type(field.annotation),
        infotext=extra.get("infotext"),  # type: ignore[arg-type]
        choices=extra.get("choices"),  # type: ignore[arg-type]
        ge=limits.get("ge"),
        le=limits.get("le"),
        ui=extra.get("ui"),  # type: ignore[arg-type]
        names=extra.get("names", ()),  # type: ignore[arg-type]
        help=field.description or "",
    )


def _plain_type(annotation: Any) -> type:
    """`int` for `int | None`, `tuple` for `tuple[str, ...]`: the type a control is chosen by."""
    if isinstance(annotation, type) and not get_args(annotation):
        return annotation
    plain = [item for item in get_args(annotation) if isinstance(item, type) and item is not type(None)]
    origin = getattr(annotation, "__origin__", None)
    if isinstance(origin, type):
        return origin
    return plain[0] if plain else str
