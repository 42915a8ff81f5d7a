"""What PEFT and diffusers write about a LoRA's strength beside its tensors, which hold no alpha."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import torch

from modules.networks.lora.changes import LARGEST, Parts
from modules.networks.lora.names import layer_name

KEY = "lora_adapter_metadata"


def with_alpha(name: str, parts: Parts, metadata: Mapping[str, str]) -> Parts:
    """The parts with the alpha (or, for rank-stabilised LoRA, the scale) that the file's metadata gives the layer."""
    if KEY not in metadata or parts.keys() & {"alpha", "scale"} or "down" not in parts:
        return parts
    meant = layer_name(name)
    settings = _settings(metadata[KEY], meant.network) if meant else {}
    alpha = _alpha(settings, name)
    if alpha is None:
        return parts
    if settings.get("use_rslora"):
        return {**parts, "scale": torch.tensor(alpha / math.sqrt(max(parts["down"].shape[:1].numel(), 1)))}
    return {**parts, "alpha": torch.tensor(alpha)}


def _settings(text: str, network: str) -> Mapping[str, Any]:
    """The entries of one network: `unet.lora_alpha` is its `lora_alpha`."""
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(entries, dict):
        return {}
    return {key.removeprefix(f"{network}."): value for key, value in entries.items() if key.startswith(f"{network}.")}


def _alpha(settings: Mapping[str, Any], name: str) -> float | None:
    pattern = settings.get("alpha_pattern")
    patterns = pattern.items() if isinstance(pattern, dict) else ()
    alpha = next((own for layer, own in patterns if name.endswith(f".{layer}")), settings.get("lora_alpha"))
    if not isinstance(alpha, int | float) or not abs(alpha) <= LARGEST:
        return None
    return float(alpha)
