"""Checkpoints of odd structure with random weights, a few hundred KB each but for CLIP's vocabulary."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel

from modules.training.export import save_checkpoint


@dataclass(frozen=True)
class Structure:
    """What may differ from SD 1.x and must be read from the file."""

    widths: tuple[int, ...] = (16, 24)
    attention: tuple[bool, ...] = (True, False)
    layers: int = 1
    depth: int = 1
    linear: bool = False
    heads: int = 8
    groups: int = 8
    vae_widths: tuple[int, ...] = (8, 16, 16, 24)
    vae_layers: int = 1
    vae_groups: int = 8
    text_width: int = 16
    text_layers: int = 2
    text_heads: int = 2

    def metadata(self) -> dict[str, str]:
        return {
            "modelspec.prediction_type": "v",
            "tagbrush.unet.heads": str(self.heads),
            "tagbrush.unet.groups": str(self.groups),
            "tagbrush.vae.groups": str(self.vae_groups),
            "tagbrush.clip.heads": str(self.text_heads),
        }


@dataclass(frozen=True)
class Networks:
    """The three networks as diffusers and transformers make them."""

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel


def make_networks(structure: Structure) -> Networks:
    """Networks whose random weights are exact in half precision."""
    torch.manual_seed(1)
    unet = UNet2DConditionModel(
        block_out_channels=structure.widths,
        down_block_types=[f"{'CrossAttn' * here}DownBlock2D" for here in structure.attention],
        up_block_types=[f"{'CrossAttn' * here}UpBlock2D" for here in reversed(structure.attention)],
        layers_per_block=structure.layers,
        transformer_layers_per_block=structure.depth,
        use_linear_projection=structure.linear,
        cross_attention_dim=structure.text_width,
        attention_head_dim=structure.heads,
        norm_num_groups=structure.groups,
    )
    levels = len(structure.vae_widths)
    vae = AutoencoderKL(
        block_out_channels=structure.vae_widths,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=structure.vae_layers,
        norm_num_groups=structure.vae_groups,
    )
    config = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=structure.text_width,
        intermediate_size=structure.text_width * 3,
        num_hidden_layers=structure.text_layers,
        num_attention_heads=structure.text_heads,
    )
    networks = Networks(unet, vae, CLIPTextModel(config))
    for network in (networks.unet, networks.vae, networks.text_encoder):
        network.half().float().requires_grad_(False).eval()
    return networks


def write(path: Path, structure: Structure, networks: Networks | None = None) -> Networks:
    """The networks, and a checkpoint of them in the original layout at `path`."""
    networks = networks or make_networks(structure)
    save_checkpoint(
        path,
        unet=networks.unet.state_dict(),
        vae=networks.vae.state_dict(),
        text=networks.text_encoder.state_dict(),
        metadata=structure.metadata(),
    )
    return networks


def read(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file."""
    return load_file(path)
