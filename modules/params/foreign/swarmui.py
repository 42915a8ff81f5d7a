"""SwarmUI: JSON in the text `parameters`, below "sui_image_params" (docs/Image Metadata Format of that project)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..infotext import Infotext
from . import names
from .values import document, infotext, lora_tag, mapping, number, sequence, shown, size_of, stem, text, whole


def read(items: Mapping[str, str], size: tuple[int, int]) -> Infotext | None:
    """What a picture of SwarmUI's says; None for another's."""
    said = mapping(document(items.get("parameters")).get("sui_image_params"))
    if not said:
        return None
    fields = {
        "Steps": whole(said.get("steps")),
        "Sampler": names.sampler(text(said.get("sampler"))),
        "Schedule type": names.schedule(text(said.get("scheduler"))),
        "CFG scale": shown(number(said.get("cfgscale"))),
        "Seed": whole(said.get("seed")),
        "Size": size_of(said.get("width"), said.get("height")) or size_of(*size),
        "Model": stem(said.get("model")),
        "VAE": stem(said.get("vae")),
        "Variation seed": whole(said.get("variationseed")),
        "Variation seed strength": shown(number(said.get("variationseedstrength"))),
        "Clip skip": _clip_skip(said),
        "RNG": "CPU",
        "Version": "SwarmUI",
    }
    return infotext(text(said.get("prompt")) + _tags(said), text(said.get("negativeprompt")), fields)


def _clip_skip(said: Mapping[str, Any]) -> int | None:
    """Counted from 1; SwarmUI counts layers from the end as ComfyUI does, in negative numbers."""
    layer = whole(said.get("clipstopatlayer"))
    return abs(layer) if layer and layer < 0 else None


def _tags(said: Mapping[str, Any]) -> str:
    """A tag for each LoRA; lists in old files are texts with commas."""
    loras, weights = (_listed(said.get(key)) for key in ("loras", "loraweights"))
    numbers = [number(weight) for weight in weights] + [1.0] * len(loras)
    return "".join(lora_tag(stem(name), weight) for name, weight in zip(loras, numbers, strict=False))


def _listed(value: Any) -> list[Any]:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else sequence(value)
