"""Files of full size are understood as diffusers' and transformers' own configurations describe the models."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from modules.models import Weights, checkpoint
from modules.models.checkpoint import Part, read_file
from tests.models import full

PATH = Path("full.safetensors")
PARAMETERS = {"sd1": 859_520_964, "sd2": 865_910_724, "sdxl": 2_567_463_684, "sdxl_refiner": 2_259_526_660}
"""Of the UNet."""


def rebuilt(name: str, part: Part) -> nn.Module:
    """The module that the part's configuration describes, without weights."""
    with torch.device("meta"):
        if name == "unet":
            return UNet2DConditionModel.from_config(dict(part.config))
        if name == "vae":
            return AutoencoderKL.from_config(dict(part.config))
        kind = CLIPTextModel if name == "text_encoder" else CLIPTextModelWithProjection
        return kind(CLIPTextConfig(**part.config))


def shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(weight.shape) for name, weight in module.state_dict().items()}


@pytest.mark.parametrize("family", full.UNETS)
def test_a_file_of_full_size_has_its_familys_structure(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """D014."""
    made = full.networks(family)
    names = full.original_shapes(family, made)
    tensors = {name: torch.empty(shape, device="meta") for name, shape in names.items()}
    monkeypatch.setattr(checkpoint, "read_weights", lambda path: Weights(path, tensors))
    found = read_file(PATH)
    assert found.facts.family == family
    assert found.facts.prediction_type == (None if family == "sd2" else "epsilon")
    heads = made["unet"].config.attention_head_dim
    widths = made["unet"].config.block_out_channels
    assert found.unet.config["attention_head_dim"] == ([heads] * len(widths) if isinstance(heads, int) else heads)
    assert found.unet.config.get("addition_time_embed_dim") == made["unet"].config.addition_time_embed_dim
    if family == "sd2":
        # the UNet never saw the last layer
        made["text_encoder"].encoder.layers = made["text_encoder"].encoder.layers[:-1]
    for name, module in made.items():
        part = getattr(found, name)
        again = rebuilt(name, part)
        assert shapes(again) == shapes(module)
        places = part.places(shapes(module))
        for key, weight in module.state_dict().items():
            assert places[key].read(part.tensors[places[key].name]).shape == weight.shape, key
    assert sum(weight.numel() for weight in made["unet"].parameters()) == PARAMETERS[family]
    assert (found.text_encoder is None) == (family == "sdxl_refiner")
    assert (found.text_encoder_2 is None) == (family in ("sd1", "sd2"))
