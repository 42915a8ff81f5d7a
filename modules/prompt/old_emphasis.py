"""Emphasis as A1111 once did it: brackets weighed as tokens, and one chunk, whatever the prompt's length (P024)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .attention import Emphasis
from .chunks import PLACEHOLDER, ROOM, SIZE, Chunk, EmbeddingSlot
from .tokens import BOS, EOS, Tokenizer
from .words import EmbeddingWords


class OldChunk(NamedTuple):
    """A prompt's one chunk, and the words that did not fit into it."""

    chunk: Chunk
    truncated: str


class _Item(NamedTuple):
    """One place of the chunk: the token that is written there, and those of the prompt that it stands for."""

    token: int
    source: tuple[int, ...]
    weight: float


def chunk_the_old_way(text: str, tokenizer: Tokenizer, words: EmbeddingWords, mode: Emphasis = "Original") -> OldChunk:
    """The first 75 tokens of `text`, each with the weight of the brackets before it.

    A token that holds brackets changes the weight of all that follow, and vanishes; numbers in brackets and BREAK mean
    nothing. An embedding that crosses the end is cut there. Mode "None" takes brackets literally.
    """
    ids = tokenizer.encode(text)
    factors = {} if mode == "None" else _factors(tokenizer.vocabulary)
    items: list[_Item] = []
    slots: list[EmbeddingSlot] = []
    weight, position = 1.0, 0
    while position < len(ids):
        word = words.at(ids, position)
        token = ids[position]
        if token in factors:
            weight *= factors[token]
        elif word is None:
            items.append(_Item(token, (token,), weight))
        else:
            slots.append(EmbeddingSlot(len(items), word.name, word.vectors))
            items += [_Item(PLACEHOLDER, word.ids, weight)]
            items += [_Item(PLACEHOLDER, (), weight)] * (word.vectors - 1)
        position += len(word.ids) if word and token not in factors else 1
    left_out = [token for item in items[ROOM:] for token in item.source]
    return OldChunk(_chunk(items[:ROOM], slots), tokenizer.decode(left_out))


def _chunk(items: Sequence[_Item], slots: Sequence[EmbeddingSlot]) -> Chunk:
    padding = ROOM - len(items)
    tokens = (BOS, *(item.token for item in items), *(EOS,) * (padding + 1))
    weights = (1.0, *(item.weight for item in items), *(1.0,) * (padding + 1))
    # A cut embedding reaches one place further than any token: over the last EOS, as in A1111.
    last = SIZE - 1
    fitting = [EmbeddingSlot(s.offset, s.name, min(s.vectors, last - s.offset)) for s in slots if s.offset < last]
    return Chunk(tokens, weights, tuple(fitting))


def _factors(vocabulary: Mapping[str, int]) -> dict[int, float]:
    """What each token with brackets multiplies weights by; those whose brackets cancel out are ordinary tokens."""
    factors = {ident: _factor(token) for token, ident in vocabulary.items() if any(c in token for c in "()[]")}
    return {ident: factor for ident, factor in factors.items() if factor != 1.0}


def _factor(token: str) -> float:
    factor = 1.0
    for character in token:
        if character in "(]":
            factor *= 1.1
        elif character in ")[":
            factor /= 1.1
    return factor
