"""Models of every family that have text encoders alone, with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from modules.models import Model

WIDTH_L, WIDTH_G, PROJECTION = 16, 24, 20
LAYERS_L, LAYERS_G = 4, 5


def make_model(family: str, *, dtype: torch.dtype = torch.float32, seed: int = 1) -> Model:
    """A model of the family whose every weight is random and none is trivial."""
    torch.manual_seed(seed)
    first = family != "sdxl_refiner"
    second = family.startswith("sdxl")
    act = "gelu" if family == "sd2" else "quick_gelu"
    return Model(
        unet=cast(Any, None),
        vae=cast(Any, None),
        text_encoder=_shaken(CLIPTextModel(_config(WIDTH_L, LAYERS_L, act)), dtype) if first else None,
        text_encoder_2=_shaken(CLIPTextModelWithProjection(_config(WIDTH_G, LAYERS_G, "gelu")), dtype)
        if second
        else None,
        family=cast(Any, family),
        prediction_type="epsilon",
        alphas_cumprod=torch.ones(1000),
        rgb=torch.zeros(5, 3),
        path=Path("model.safetensors"),
        device=torch.device("cpu"),
        dtype=dtype,
    )


def _config(width: int, layers: int, act: str) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=49408,
        hidden_size=width,
        intermediate_size=width * 2,
        projection_dim=PROJECTION,
        num_hidden_layers=layers,
        num_attention_heads=2,
        hidden_act=act,
        pad_token_id=1,
        bos_token_id=49406,
        eos_token_id=49407,
    )


def _shaken(encoder: Any, dtype: torch.dtype) -> Any:
    for parameter in encoder.parameters():
        parameter.data = parameter.data + 0.3 * torch.randn_like(parameter)
    return encoder.to(dtype).requires_grad_(False).eval()
