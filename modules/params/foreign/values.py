"""Values from JSON that someone else wrote: taken if they are of the kind asked for, else passed over."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any

from ..infotext import Infotext

MAX_JSON = 16 * 2**20
"""Characters; the largest workflows people share are a tenth of it."""


def document(text: str | None) -> Mapping[str, Any]:
    """The JSON object in a text; an empty one where there is none."""
    if not text or len(text) > MAX_JSON or not text.lstrip().startswith("{"):
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def sequence(value: Any) -> list[Any]:
    """The value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def text(value: Any) -> str:
    """The value if it is a text, else ""; without what no file can hold."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def number(value: Any) -> float | None:
    """The value if it is a number, also one in a text."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def whole(value: Any) -> int | None:
    """The value if it is a whole number of any size that a seed may have."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if abs(value) < 2**64 else None
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,20}", value):
        return int(value)
    found = number(value)
    return int(found) if found is not None and found.is_integer() and abs(found) < 2**53 else None


def shown(value: float | None) -> str | None:
    """A number as A1111's texts have it: 7.0 as 7."""
    return None if value is None else f"{value:.10g}"


def stem(path: Any) -> str:
    """The name of a file without its folders and ending."""
    name = text(path).replace("\\", "/")
    return re.sub(r"\.(safetensors|ckpt|pt|bin|pth|sft)$", "", PurePosixPath(name).name, flags=re.IGNORECASE)


def lora_tag(name: str, te: float | None, unet: float | None = None) -> str:
    """The tag of a LoRA; "" where its name cannot stand in one, or its weight is 0."""
    weights = (1.0 if te is None else te, te if unet is None else unet)
    if not name or re.search(r"[<>:]", name) or not any(weights[:1] if unet is None else weights):
        return ""
    weight = shown(weights[0])
    return f"<lora:{name}:{weight}>" if weights[1] in (None, te) else f"<lora:{name}:{weight}:{shown(weights[1])}>"


def infotext(prompt: str, negative: str, fields: Mapping[str, Any]) -> Infotext:
    """The text of what was found; fields without a value are left out."""
    said = {key: str(value) for key, value in fields.items() if value not in (None, "")}
    return Infotext(prompt.strip(), negative.strip(), MappingProxyType(said))


def size_of(width: Any, height: Any) -> str | None:
    """ "512x768", where both are numbers."""
    sides = whole(width), whole(height)
    return f"{sides[0]}x{sides[1]}" if None not in sides and min(sides) > 0 else None  # type: ignore[type-var]
