"""A checkpoint in memory: its networks, and what sampling must know about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn

from modules.catalogue import CLIP_G, CLIP_L, Prediction, Variant
from modules.models.attention import PatchableAttention
from modules.models.merges import Guarded, Merges

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

Family = Literal["sd1", "sd2", "sdxl", "sdxl_refiner"]


@dataclass(frozen=True, eq=False, repr=False)
class Model:
    """A loaded checkpoint. Its weights change only inside `patched`, which puts them back bit for bit."""

    unet: UNet2DConditionModel = Guarded()  # noqa: RUF009  a descriptor, which all instances share
    vae: AutoencoderKL
    text_encoder: CLIPTextModel | None = Guarded()  # noqa: RUF009
    """CLIP-L of SD 1 and SDXL; OpenCLIP-H of SD 2, without the last layer, which its UNet never saw, so that the state
    after the final norm is the one to use; None in a refiner."""
    family: Family
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
    text_encoder_2: CLIPTextModelWithProjection | None = Guarded(None)  # noqa: RUF009
    """OpenCLIP-bigG of SDXL and its refiner, with all its layers; they lie under `text_model.` in transformers."""
    variant: Variant = "base"
    """`inpaint` UNets read 9 channels: latents, mask, masked picture's latents; `pix2pix` 8: latents, the picture's."""
    vae_path: Path | None = None
    """The file of the VAE in use; None where it is the checkpoint's own."""
    own_vae: AutoencoderKL | None = None
    """The checkpoint's own VAE, kept while another one is in use; None where that is so, or where it has none."""
    checks_numbers: bool = True
    """Whether latents and pictures that are no numbers are an error; else they are zeros (R004)."""
    spares_memory: bool = False
    """Whether text encoders wait in main memory, both passes are apart, and pictures are decoded strip by strip."""
    attention: PatchableAttention = field(default_factory=PatchableAttention)
    """The processor of every attention of the UNet."""
    merges: Merges = field(default_factory=Merges)
    """What of the Guarded networks is merged with patches; reading one of them outside `patched` puts it all back."""

    def __repr__(self) -> str:
        """Without its weights, which are millions of numbers, and which reading would put back."""
        return f"Model({self.path.name!r}, {self.family!r}, {self.variant!r}, {self.device}, {self.dtype})"

    @property
    def encoders(self) -> Mapping[str, nn.Module]:
        """The text encoders that there are, by the names that embeddings have for them: `clip_l`, `clip_g`."""
        both = {CLIP_L: self.text_encoder, CLIP_G: self.text_encoder_2}
        return {name: encoder for name, encoder in both.items() if encoder is not None}
