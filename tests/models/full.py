"""Networks of full size without weights, as diffusers' and transformers' own configurations describe them.

The numbers are those of the `config.json` files published with each model; no weight is ever made.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from modules.models.places import Places, clip_places, openclip_places, unet_places, vae_places
from tests.models.small import CLIP, OPENCLIP, UNET, VAE

_WIDTHS = {"block_out_channels": [320, 640, 1280, 1280]}
_LINEAR = {"use_linear_projection": True}
_SDXL = {
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
} | _LINEAR
UNETS: dict[str, dict[str, Any]] = {
    "sd1": {"cross_attention_dim": 768, "attention_head_dim": 8} | _WIDTHS,
    "sd2": {"cross_attention_dim": 1024, "attention_head_dim": [5, 10, 20, 20]} | _WIDTHS | _LINEAR,
    "sdxl": _SDXL
    | {
        "block_out_channels": [320, 640, 1280],
        "transformer_layers_per_block": [1, 2, 10],
        "attention_head_dim": [5, 10, 20],
        "cross_attention_dim": 2048,
        "projection_class_embeddings_input_dim": 2816,
    },
    "sdxl_refiner": _SDXL
    | {
        "block_out_channels": [384, 768, 1536, 1536],
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        "transformer_layers_per_block": 4,
        "attention_head_dim": [6, 12, 24, 24],
        "cross_attention_dim": 1280,
        "projection_class_embeddings_input_dim": 2560,
    },
}
_CLIP_L = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "hidden_act": "quick_gelu",
    "projection_dim": 768,
}
_BIG_G = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "hidden_act": "gelu",
    "projection_dim": 1280,
}
_H = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "hidden_act": "gelu",
    "projection_dim": 1024,
}
TEXT_ENCODERS: dict[str, dict[str, dict[str, Any]]] = {
    "sd1": {"text_encoder": _CLIP_L},
    "sd2": {"text_encoder": _H},
    "sdxl": {"text_encoder": _CLIP_L, "text_encoder_2": _BIG_G},
    "sdxl_refiner": {"text_encoder_2": _BIG_G},
}


def networks(family: str) -> dict[str, nn.Module]:
    """The networks of a family by their names in a Model, on the meta device."""
    kinds = {"text_encoder": CLIPTextModel, "text_encoder_2": CLIPTextModelWithProjection}
    with torch.device("meta"):
        made: dict[str, nn.Module] = {
            "unet": UNet2DConditionModel(**UNETS[family]),
            "vae": AutoencoderKL(
                block_out_channels=(128, 256, 512, 512),
                down_block_types=("DownEncoderBlock2D",) * 4,
                up_block_types=("UpDecoderBlock2D",) * 4,
                layers_per_block=2,
                scaling_factor=0.13025 if family.startswith("sdxl") else 0.18215,
            ),
        }
        for name, arguments in TEXT_ENCODERS[family].items():
            made[name] = kinds[name](CLIPTextConfig(vocab_size=49408, **arguments))
    return made


def original_shapes(family: str, made: dict[str, nn.Module]) -> dict[str, tuple[int, ...]]:
    """The shapes of a file's tensors under their original names."""
    first = (OPENCLIP[family], openclip_places) if family == "sd2" else (CLIP.get(family, ""), clip_places)
    homes: dict[str, tuple[str, Places]] = {
        "unet": (UNET, unet_places),
        "vae": (VAE, vae_places),
        "text_encoder": first,
        "text_encoder_2": (OPENCLIP.get(family, ""), openclip_places),
    }
    shapes = {}
    for part, module in made.items():
        prefix, places = homes[part]
        weights = module.state_dict()
        for name, place in places(weights).items():
            shape = tuple(place.write(weights[name]).shape)
            shapes[prefix + place.name] = (3 * shape[0], *shape[1:]) if place.third is not None else shape
    return shapes


def write_configs(folder: Path, family: str, made: dict[str, nn.Module]) -> None:
    """The configurations of a diffusers folder, as its own loader wants them."""
    for name, module in made.items():
        config = module.config.to_dict() if name.startswith("text") else dict(module.config)
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "config.json").write_text(json.dumps(config, default=str), encoding="utf-8")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": family}), encoding="utf-8")
