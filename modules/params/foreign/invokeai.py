"""InvokeAI: JSON in the text `invokeai_metadata` (since version 3), or `sd-metadata` (before)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..infotext import Infotext
from . import names
from .values import document, infotext, lora_tag, mapping, number, sequence, shown, size_of, stem, text, whole


def read(items: Mapping[str, str], size: tuple[int, int]) -> Infotext | None:
    """What a picture of InvokeAI's says; None for another's."""
    said = document(items.get("invokeai_metadata"))
    if "positive_prompt" in said or "generation_mode" in said:
        return _today(said, size)
    old = document(items.get("sd-metadata"))
    return _early(old, size) if old else None


def _today(said: Mapping[str, Any], size: tuple[int, int]) -> Infotext:
    model, vae = mapping(said.get("model")), mapping(said.get("vae"))
    sampler, schedule = _scheduler(text(said.get("scheduler")))
    skipped = whole(said.get("clip_skip"))
    fields = {
        "Steps": whole(said.get("steps")),
        "Sampler": sampler,
        "Schedule type": schedule,
        "CFG scale": shown(number(said.get("cfg_scale"))),
        "Seed": whole(said.get("seed")),
        "Size": size_of(said.get("width"), said.get("height")) or size_of(*size),
        "Model": _name(model),
        "VAE": _name(vae),
        "Denoising strength": shown(number(said.get("strength"))),
        # InvokeAI counts the layers that are left out, A1111 the layer that is used, from the end.
        "Clip skip": skipped + 1 if skipped and skipped > 0 else None,
        "RNG": "CPU" if said.get("rand_device", "cpu") == "cpu" else None,
        "Version": "InvokeAI",
    }
    return infotext(text(said.get("positive_prompt")) + _tags(said), text(said.get("negative_prompt")), fields)


def _tags(said: Mapping[str, Any]) -> str:
    rows = [mapping(row) for row in sequence(said.get("loras"))]
    return "".join(
        lora_tag(_name(mapping(row.get("model") or row.get("lora"))), number(row.get("weight"))) for row in rows
    )


def _name(model: Mapping[str, Any]) -> str:
    return stem(model.get("name") or model.get("model_name"))


def _scheduler(name: str) -> tuple[str, str]:
    """Sampler and schedule: a `_k` at the end means Karras."""
    plain = name.removesuffix("_k")
    return names.sampler(plain), "Karras" if plain != name else ""


def _early(said: Mapping[str, Any], size: tuple[int, int]) -> Infotext | None:
    """The first format: a list of prompts with weights, the negative one in square brackets."""
    image = mapping(said.get("image"))
    if not image:
        return None
    prompts = image.get("prompt")
    whole_text = text(prompts) or ", ".join(text(mapping(each).get("prompt")) for each in sequence(prompts))
    prompt, _, negative = whole_text.partition("[")
    fields = {
        "Steps": whole(image.get("steps")),
        "Sampler": names.sampler(text(image.get("sampler"))),
        "CFG scale": shown(number(image.get("cfg_scale"))),
        "Seed": whole(image.get("seed")),
        "Size": size_of(image.get("width"), image.get("height")) or size_of(*size),
        "Model": text(said.get("model_weights")),
        "RNG": "CPU",
        "Version": "InvokeAI",
    }
    return infotext(prompt, negative.rstrip("] "), fields)
