"""The attention of the VAE as A1111 computes it on a CPU, so that a picture comes back to the last bit.

Between the two stages of hires fix a picture is cut to 8 bits: where a pixel lies within rounding of a whole number,
another order of the same sums is another picture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from modules.models.attention import SMALL

if TYPE_CHECKING:
    from diffusers import AutoencoderKL
    from diffusers.models.attention_processor import Attention


def attend_as_a1111(vae: AutoencoderKL) -> None:
    """Have the VAE's two attentions round as A1111's do, where that costs nothing: small pictures on a CPU."""
    for half in (vae.encoder, vae.decoder):
        for attention in half.mid_block.attentions:
            if attention is not None and attention.heads == 1:
                attention.set_processor(VaeAttention(attention.processor))


class VaeAttention:
    """Attention of one head over the pixels, its projections computed as 1x1 convolutions."""

    def __init__(self, usual: Callable[..., torch.Tensor]) -> None:
        """`usual` is the processor for large pictures and other devices."""
        self._usual = usual

    def __call__(
        self,
        attention: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """(B, C, H, W) -> (B, C, H, W); the other arguments are diffusers' and None here."""
        pixels = hidden_states.shape[-2:].numel()
        if hidden_states.device.type != "cpu" or pixels**2 * hidden_states.element_size() > SMALL:
            return self._usual(attention, hidden_states, encoder_hidden_states, attention_mask, temb)
        normed = attention.group_norm(hidden_states)
        query, key, value = (
            _project(layer, normed).flatten(2) for layer in (attention.to_q, attention.to_k, attention.to_v)
        )  # (B, C, HW)
        weights = torch.bmm(query.transpose(1, 2), key) * query.shape[1] ** -0.5
        mixed = torch.bmm(value, weights.softmax(-1).transpose(1, 2))
        return hidden_states + _project(attention.to_out[0], mixed.view_as(hidden_states))


def _project(layer: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    return functional.conv2d(pixels, layer.weight[:, :, None, None], layer.bias)
