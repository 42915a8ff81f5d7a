"""NovelAI: the prompt as `Description`, all else as JSON in `Comment`; the same inside its hidden texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..infotext import Infotext
from . import names
from .values import document, infotext, mapping, number, shown, size_of, text, whole


def read(items: Mapping[str, str], size: tuple[int, int]) -> Infotext | None:
    """What a picture of NovelAI's says; None for another's.

    As A1111 does, it is read with clip skip 2 and an eta noise seed delta of 31337, for its models were made for them.
    """
    if not items.get("Software", "").startswith("NovelAI"):
        return None
    said = document(items.get("Comment"))
    if not said:
        return None
    prompt = items.get("Description") or text(said.get("prompt")) or _caption(said.get("v4_prompt"))
    negative = text(said.get("uc")) or _caption(said.get("v4_negative_prompt"))
    fields = {
        "Steps": whole(said.get("steps")),
        "Sampler": names.sampler(text(said.get("sampler")) or "k_euler_ancestral"),
        "Schedule type": names.schedule(text(said.get("noise_schedule"))),
        "CFG scale": shown(number(said.get("scale"))),
        "Seed": whole(said.get("seed")),
        "Size": size_of(said.get("width"), said.get("height")) or size_of(*size),
        "Denoising strength": shown(number(said.get("strength"))) if "image" in said or "noise" in said else None,
        "Clip skip": 2,
        "ENSD": 31337,
        "Version": "NovelAI",
    }
    return infotext(prompt, negative, fields)


def _caption(prompt: Any) -> str:
    """The prompt of the fourth model: a base, and one for each character."""
    caption = mapping(mapping(prompt).get("caption"))
    characters = caption.get("char_captions")
    parts = [caption.get("base_caption")]
    parts += [mapping(each).get("char_caption") for each in (characters if isinstance(characters, list) else ())]
    return ", ".join(filter(None, map(text, parts)))
