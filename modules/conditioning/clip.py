"""Rows of tokens -> CLIP's hidden states (Radford et al. 2021, arXiv:2103.00020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch

from modules.params import TagbrushError
from modules.prompt import EmbeddingSlot

if TYPE_CHECKING:
    from transformers import CLIPTextModel

Vectors = Mapping[str, torch.Tensor]
"""An embedding's vectors by text encoder: (n, width) under `clip_l`, and under `clip_g` for SDXL."""

ENCODER = "clip_l"
BATCH = 32
"""Rows encoded at once; a prompt of ten thousand words has over a hundred."""


class EmbeddingMisfit(TagbrushError):
    """An embedding whose vectors are not of the text encoder's width."""


class Row(NamedTuple):
    """What the encoder sees of a chunk: 77 token ids, and the embeddings that stand for some of them."""

    tokens: tuple[int, ...]
    slots: tuple[EmbeddingSlot, ...]


def hidden_states(
    encoder: CLIPTextModel, rows: Sequence[Row], embeddings: Mapping[str, Vectors], clip_skip: int
) -> torch.Tensor:
    """(rows, 77, width) float32: the state `clip_skip` layers from the end (1: the last), after the final norm (P086).

    Embeddings enter here, in the rows that name them, so that neither the tokeniser nor the encoder's table knows them.
    Raises EmbeddingMisfit for vectors of another width.
    """
    return torch.cat(
        [_batch(encoder, rows[start : start + BATCH], embeddings, clip_skip) for start in range(0, len(rows), BATCH)]
    )


def _batch(
    encoder: CLIPTextModel, rows: Sequence[Row], embeddings: Mapping[str, Vectors], clip_skip: int
) -> torch.Tensor:
    tokens = torch.tensor([row.tokens for row in rows], device=encoder.device)
    words = encoder.embeddings.token_embedding(tokens)  # (rows, 77, width)
    for index, row in enumerate(rows):
        for slot in row.slots:
            start = slot.offset + 1  # after BOS
            words[index, start : start + slot.vectors] = _vectors(slot, embeddings, words)
    states = encoder.embeddings(inputs_embeds=words)
    layers = encoder.encoder.layers
    mask = _causal_mask(states)
    for layer in layers[: max(len(layers) + 1 - clip_skip, 0)]:
        states = layer(states, attention_mask=mask)
    return encoder.final_layer_norm(states).float()


def _vectors(slot: EmbeddingSlot, embeddings: Mapping[str, Vectors], like: torch.Tensor) -> torch.Tensor:
    vectors = embeddings[slot.name][ENCODER]
    if vectors.shape != (slot.vectors, like.shape[-1]):
        raise EmbeddingMisfit(
            f'Embedding "{slot.name}" has vectors of {vectors.shape[-1]} numbers, this model takes {like.shape[-1]}. '
            "It was made for another kind of model: choose one made for this kind."
        )
    return vectors.to(like)


def _causal_mask(states: torch.Tensor) -> torch.Tensor:
    """(1, 1, 77, 77): no token sees those after it."""
    length = states.shape[1]
    return torch.full((length, length), -torch.inf, dtype=states.dtype, device=states.device).triu(1)[None, None]
