"""The attention of the UNet, with a door for whatever changes its context."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from diffusers.models.attention_processor import Attention

ContextChange = Callable[[torch.Tensor], torch.Tensor]
ContextChanges = Mapping[int, tuple[tuple[ContextChange, ContextChange], ...]]

SMALL = 16 * 2**20  # bytes; beyond it the fused kernel is up to three times as fast


@dataclass(eq=False)
class PatchableAttention:
    """Multi-head attention whose keys and values may read a changed context (Vaswani et al. 2017, arXiv:1706.03762).

    `changes` maps the width of a context to pairs of functions, for keys and for values, applied one after the other in
    float32. They act in every attention with that width, self-attention among them, as hypernetworks have always done.
    One object serves all attentions of a UNet, so that setting `changes` once switches them all.
    """

    changes: ContextChanges = field(default_factory=dict)

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """(B, N, C) -> (B, N, C); the context is (B, M, D), or the hidden states themselves."""
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        for_keys, for_values = self._contexts(context)
        query = _split(attn.to_q(hidden_states), attn.heads)  # (B, heads, N, C / heads)
        key = _split(attn.to_k(for_keys), attn.heads)
        value = _split(attn.to_v(for_values), attn.heads)
        if attention_mask is None and _is_small(query, key):
            mixed = _attend(query, key, value)
        else:
            mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=attention_mask)
        merged = mixed.transpose(1, 2).flatten(2)  # (B, N, C)
        return attn.to_out[1](attn.to_out[0](merged))

    def _contexts(self, context: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        changes = self.changes.get(context.shape[-1], ())
        for_keys = for_values = context
        for change_keys, change_values in changes:
            for_keys = change_keys(for_keys.float()).to(context.dtype)
            for_values = change_values(for_values.float()).to(context.dtype)
        return for_keys, for_values


def _is_small(query: torch.Tensor, key: torch.Tensor) -> bool:
    """Whether the plain product costs about as much as the fused one, which is so on a CPU for small pictures."""
    bytes_of_weights = query.shape[:-1].numel() * key.shape[-2] * query.element_size()
    return query.device.type == "cpu" and bytes_of_weights <= SMALL


def _attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """softmax(Q K^T) V, each rounded as A1111 rounds it on a CPU: what it draws there comes back to the last bit.

    Where rounding is amplified, as by a consistency model under strong guidance, another order of the same sums is
    another picture.
    """
    rows, scale = query.shape[:2], query.shape[-1] ** -0.5
    query, key, value = (part.flatten(0, 1) for part in (query, key * scale, value))  # (B * heads, N, C / heads)
    weights = torch.bmm(query, key.transpose(1, 2)).softmax(-1)
    return torch.bmm(weights, value).unflatten(0, rows)


def _split(tensor: torch.Tensor, heads: int) -> torch.Tensor:
    return tensor.unflatten(-1, (heads, -1)).transpose(1, 2)
