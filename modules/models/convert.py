"""Names that early releases wrote -> the names that the modules have today."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch

Tensors = Mapping[str, torch.Tensor]

_OLD_VAE_ATTENTION = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}


def diffusers_vae_tensors(tensors: Tensors) -> dict[str, torch.Tensor]:
    """The VAE's weights of a file by diffusers, whose early releases named the attention's layers otherwise."""
    renamed = {}
    for name, tensor in tensors.items():
        for old, new in _OLD_VAE_ATTENTION.items():
            name = name.replace(old, new)
        is_convolution = ".attentions." in name and tensor.ndim == 4
        renamed[name] = tensor[:, :, 0, 0] if is_convolution else tensor
    return renamed


def clip_tensors(tensors: Tensors) -> dict[str, torch.Tensor]:
    """CLIP's weights as transformers names them, without `text_model.`, which early files lack as well (D015)."""
    return {re.sub(r"^text_model\.", "", name): tensor for name, tensor in tensors.items()}


def openclip_tensors(tensors: Tensors) -> dict[str, torch.Tensor]:
    """OpenCLIP's weights; files made from diffusers' folders may hold its projection as transformers does, turned."""
    named = dict(tensors)
    turned = named.pop("text_projection.weight", None)
    if turned is not None and turned.ndim == 2:
        named.setdefault("text_projection", turned.T)
    return named
