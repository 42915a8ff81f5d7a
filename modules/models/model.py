"""A checkpoint in memory: three networks, and what sampling must know about them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from modules.models.attention import PatchableAttention
from modules.models.merges import MergeCache

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel

Prediction = Literal["epsilon", "v"]


@dataclass(frozen=True, eq=False)
class Model:
    """A loaded checkpoint. Its weights change only inside `patched`, which puts them back bit for bit."""

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    family: str
    prediction_type: Prediction
    alphas_cumprod: torch.Tensor
    """(1000,) float32 on the CPU: the share of signal that is left at each timestep."""
    rgb: torch.Tensor
    """(5, 3) float32 on the CPU: a latent of the UNet's scale and a 1, times this, is roughly its colour in [0, 1]."""
    path: Path
    device: torch.device
    dtype: torch.dtype
    """Of the UNet and the text encoder, and of the latents they are given."""
    scale_factor: float = 0.18215
    """Latents of the UNet are those of the VAE times this."""
    attention: PatchableAttention = field(default_factory=PatchableAttention)
    """The processor of every attention of the UNet."""
    merges: MergeCache = field(default_factory=MergeCache)
