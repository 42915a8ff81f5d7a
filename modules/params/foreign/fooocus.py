"""Fooocus: JSON in the text `parameters`, beside `fooocus_scheme` in a PNG; its other scheme is A1111's own text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..infotext import Infotext
from . import names
from .values import document, infotext, lora_tag, number, sequence, shown, size_of, stem, text, whole


def read(items: Mapping[str, str], size: tuple[int, int]) -> Infotext | None:
    """What a picture of Fooocus's says; None for another's."""
    said = document(items.get("parameters"))
    if "base_model" not in said or "prompt" not in said:
        return None
    clip_skip = whole(said.get("clip_skip"))
    fields = {
        "Steps": whole(said.get("steps")),
        "Sampler": names.sampler(text(said.get("sampler"))),
        "Schedule type": names.schedule(text(said.get("scheduler"))),
        "CFG scale": shown(number(said.get("guidance_scale"))),
        "Seed": whole(said.get("seed")),
        "Size": _resolution(said.get("resolution")) or size_of(*size),
        "Model hash": text(said.get("base_model_hash"))[:10],
        "Model": stem(said.get("base_model")),
        "Clip skip": clip_skip if clip_skip and clip_skip > 1 else None,
        "RNG": "CPU",
        "Version": "Fooocus",
    }
    return infotext(text(said.get("prompt")) + _tags(said), text(said.get("negative_prompt")), fields)


def _resolution(value: Any) -> str | None:
    """Width and height of "(1152, 896)", or of a list."""
    sides = re.findall(r"\d{1,5}", value[:40]) if isinstance(value, str) else sequence(value)
    return size_of(*sides) if len(sides) == 2 else None


def _tags(said: Mapping[str, Any]) -> str:
    """A tag for each LoRA: rows of name, weight and hash, or keys of "name : weight"."""
    rows = [row for row in sequence(said.get("loras")) if isinstance(row, list) and len(row) >= 2]
    rows += [text(value).split(" : ") for key, value in said.items() if key.startswith("lora_combined_")]
    return "".join(lora_tag(stem(row[0]), number(row[1])) for row in rows if len(row) >= 2)
