"""A row of tokens -> CLIP's hidden states (Radford et al. 2021, arXiv:2103.00020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch

from modules.conditioning.readings import Reading
from modules.params import TagbrushError
from modules.prompt import EOS, Chunk, EmbeddingSlot

Vectors = Mapping[str, torch.Tensor]
"""An embedding's vectors by text encoder: (n, width) under `clip_l`, and under `clip_g` for SDXL."""


class EmbeddingMisfit(TagbrushError):
    """An embedding whose vectors are not of the text encoder's width."""


class Row(NamedTuple):
    """What an encoder sees of a chunk: 77 token ids, and the embeddings that stand for some of them."""

    tokens: tuple[int, ...]
    slots: tuple[EmbeddingSlot, ...]

    @classmethod
    def of(cls, chunk: Chunk) -> Row:
        """The chunk without its weights, which act on what the encoder gives back."""
        return cls(chunk.tokens, chunk.embeddings)


class State(NamedTuple):
    """What an encoder says of a row."""

    tokens: torch.Tensor
    """(77, width) float32"""
    pooled: torch.Tensor | None
    """(projection,) float32: the whole row as one vector; None from an encoder without a projection."""


def read_row(reading: Reading, row: Row, embeddings: Mapping[str, Vectors]) -> State:
    """The state of one row.

    Rows are encoded one at a time, so that a prompt has the same state to the last bit whatever it is encoded with.
    Embeddings enter here, so that neither the tokeniser nor the encoder's table knows them. Raises EmbeddingMisfit.
    """
    encoder = reading.encoder
    states = encoder.embeddings(inputs_embeds=_words(reading, row, embeddings))  # (1, 77, width)
    mask = _causal_mask(states)
    layers = encoder.encoder.layers
    taken = max(len(layers) + 1 - reading.skip, 0)
    for layer in layers[:taken]:
        states = layer(states, attention_mask=mask)
    tokens = encoder.final_layer_norm(states) if reading.is_normed else states
    if reading.projection is None:
        return State(tokens[0].float(), None)
    for layer in layers[taken:]:
        states = layer(states, attention_mask=mask)
    end = encoder.final_layer_norm(states)[0, row.tokens.index(EOS)]
    return State(tokens[0].float(), reading.projection(end).float())


def _words(reading: Reading, row: Row, embeddings: Mapping[str, Vectors]) -> torch.Tensor:
    """(1, 77, width): each token's vector, and the embeddings' in the place of theirs (P092)."""
    ids = torch.tensor([_padded(row.tokens, reading.pad)], device=reading.encoder.device)
    words = reading.encoder.embeddings.token_embedding(ids)
    for slot in row.slots:
        start = slot.offset + 1  # after BOS
        words[0, start : start + slot.vectors] = _vectors(slot, reading.name, embeddings, words)
    return words


def _padded(tokens: tuple[int, ...], pad: int) -> tuple[int, ...]:
    """The ids with everything after the first EOS replaced by `pad` (P081)."""
    end = tokens.index(EOS) + 1
    return tokens if pad == EOS else (*tokens[:end], *(pad,) * (len(tokens) - end))


def _vectors(slot: EmbeddingSlot, encoder: str, embeddings: Mapping[str, Vectors], like: torch.Tensor) -> torch.Tensor:
    kinds = embeddings[slot.name]
    vectors = kinds.get(encoder)
    if vectors is None or vectors.dim() != 2 or vectors.shape[-1] != like.shape[-1]:
        has = " + ".join(str(given.shape[-1]) for given in kinds.values())
        raise EmbeddingMisfit(
            f'Embedding "{slot.name}" has vectors of {has} numbers, this model takes {like.shape[-1]} ({encoder}). '
            "It was made for another kind of model: choose one made for this kind."
        )
    return vectors[: slot.vectors].to(like)


def _causal_mask(states: torch.Tensor) -> torch.Tensor:
    """(1, 1, 77, 77): no token sees those after it."""
    length = states.shape[1]
    return torch.full((length, length), -torch.inf, dtype=states.dtype, device=states.device).triu(1)[None, None]
