"""What a checkpoint in diffusers' layout is: a folder with a part of the model in each of its folders."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modules.params import LATENT_PIXELS, BadFile

from .entries import Facts
from .families import FAMILY_OF_WIDTH, VARIANT_OF_CHANNELS, Family, Prediction, usable_size

MAX_BYTES = 1_000_000
"""Of a configuration file; a large one has a few thousand."""

_PREDICTIONS: Mapping[str, Prediction] = {"epsilon": "epsilon", "v_prediction": "v"}


def examine_folder(path: Path) -> Facts:
    """The facts of a folder, from its small configuration files. Raises BadFile for one without a UNet's."""
    unet = _json(path / "unet" / "config.json")
    width, size, channels = (unet.get(key) for key in ("cross_attention_dim", "sample_size", "in_channels"))
    prediction = _PREDICTIONS.get(str(_optional(path / "scheduler" / "scheduler_config.json").get("prediction_type")))
    return Facts(
        family=_folder_family(_optional(path / "model_index.json"), width),
        variant=VARIANT_OF_CHANNELS.get(channels, "base") if isinstance(channels, int) else "base",
        prediction=prediction,
        native_size=usable_size([size * LATENT_PIXELS]) if isinstance(size, int) else None,
        width=width if isinstance(width, int) else None,
    )


def _folder_family(index: Mapping[str, Any], width: Any) -> Family:
    """The family by the text encoders that the folder names, else by what cross-attention looks at."""
    parts = {key for key, value in index.items() if isinstance(value, list) and value and value[0] is not None}
    if "text_encoder_2" in parts:
        return "sdxl" if "text_encoder" in parts else "sdxl_refiner"
    return FAMILY_OF_WIDTH.get(width, "") if isinstance(width, int) else ""


def _optional(path: Path) -> dict[str, Any]:
    """A configuration file that need not be there."""
    try:
        return _json(path)
    except BadFile:
        return {}


def _json(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            value = json.loads(file.read(MAX_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise BadFile(path.parents[1], f"is a folder without a readable {path.parent.name}/{path.name}.") from error
    return value if isinstance(value, dict) else {}
