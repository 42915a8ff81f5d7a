"""Tensors under the original names -> tensors under the names of diffusers' and transformers' modules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch

Tensors = Mapping[str, torch.Tensor]

_OLD_VAE_ATTENTION = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}


def unet_tensors(tensors: Tensors, config: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The UNet's weights as UNet2DConditionModel names them."""
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    prefixed = {f"model.diffusion_model.{name}": tensor for name, tensor in tensors.items()}
    return convert_ldm_unet_checkpoint(prefixed, config=config)


def vae_tensors(tensors: Tensors, config: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The VAE's weights as AutoencoderKL names them."""
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    return convert_ldm_vae_checkpoint(tensors, config)


def diffusers_vae_tensors(tensors: Tensors) -> dict[str, torch.Tensor]:
    """The same of a file written by diffusers, whose early releases named the attention's layers otherwise."""
    renamed = {}
    for name, tensor in tensors.items():
        for old, new in _OLD_VAE_ATTENTION.items():
            name = name.replace(old, new)
        is_convolution = ".attentions." in name and tensor.ndim == 4
        renamed[name] = tensor[:, :, 0, 0] if is_convolution else tensor
    return renamed


def text_encoder_tensors(tensors: Tensors) -> dict[str, torch.Tensor]:
    """CLIP's weights as CLIPTextModel names them: without `text_model.`, which early files lack as well."""
    return {re.sub(r"^text_model\.", "", name): tensor for name, tensor in tensors.items()}
