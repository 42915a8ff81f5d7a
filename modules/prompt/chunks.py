"""Chunks: segments cut into the rows of 77 tokens that the text encoder takes (P080-P083, P092)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from .attention import Break, Segment
from .tokens import BOS, COMMA, EOS, Tokenizer
from .words import EmbeddingWords, embedding_words

ROOM = 75
SIZE = ROOM + 2

# Stands where an embedding's vectors go. The encoder's own vector for it, that of "!", is used only where a phrase
# moved to the next chunk and its embeddings did not.
PLACEHOLDER = 0


@dataclass(frozen=True, slots=True)
class EmbeddingSlot:
    """Where an embedding's vectors go: from `offset`, counted from the token after BOS, on."""

    offset: int
    name: str
    vectors: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """One row for the text encoder: 77 token ids from BOS to EOS, padded with EOS, and a weight for each."""

    tokens: tuple[int, ...]
    weights: tuple[float, ...]
    embeddings: tuple[EmbeddingSlot, ...] = ()


EMPTY_CHUNK = Chunk((BOS, *(EOS,) * (SIZE - 1)), (1.0,) * SIZE)
"""What an empty prompt is, and what a shorter prompt of a batch is filled up with (P080)."""


class Chunked(NamedTuple):
    """A prompt's chunks, at least one, and its token count: 75 for each chunk but the last."""

    chunks: tuple[Chunk, ...]
    token_count: int


def chunk(
    segments: Iterable[Segment | Break],
    tokenizer: Tokenizer,
    embeddings: EmbeddingWords | Mapping[str, int] | None = None,
    backtrack: int = 20,
) -> Chunked:
    """Segments as chunks of 75 tokens. A prompt may have any length.

    `embeddings` are words, or name -> number of vectors. An embedding stays whole: where its vectors do not fit, the
    next chunk begins. `backtrack` moves what comes after the last comma to the next chunk when a chunk is full and
    that comma is at most so many tokens back; 0 never does (P082). As in A1111, whose pictures show it, an embedding in
    what moves leaves its vectors behind, on the full chunk's padding, and the next chunk has the placeholder as a word.
    """
    words = embeddings if isinstance(embeddings, EmbeddingWords) else embedding_words(embeddings or {}, tokenizer)
    encode = cache(tokenizer.encode)
    cutter = _Cutter(backtrack)
    for segment in segments:
        if isinstance(segment, Break):
            cutter.cut()
            continue
        ids = encode(segment.text)
        position = 0
        while position < len(ids):
            word = words.at(ids, position)
            if word:
                cutter.add_embedding(word.name, word.vectors, segment.weight)
            else:
                cutter.add_token(ids[position], segment.weight)
            position += len(word.ids) if word else 1
    return cutter.finish()


class _Cutter:
    """The chunk that is being filled, and those that are done."""

    def __init__(self, backtrack: int) -> None:
        self._backtrack = backtrack
        self._chunks: list[Chunk] = []
        self._start([], [])

    def add_token(self, token: int, weight: float) -> None:
        if token == COMMA:
            self._last_comma = len(self._tokens)
        else:
            self._keep_phrase_together()
        if len(self._tokens) == ROOM:
            self.cut()
        self._tokens.append(token)
        self._weights.append(weight)

    def add_embedding(self, name: str, vectors: int, weight: float) -> None:
        self._keep_phrase_together()
        if len(self._tokens) + vectors > ROOM:
            self.cut()
        self._slots.append(EmbeddingSlot(len(self._tokens), name, vectors))
        self._tokens += [PLACEHOLDER] * vectors
        self._weights += [weight] * vectors

    def cut(self) -> None:
        """End the chunk here and begin the next."""
        padding = ROOM - len(self._tokens)
        tokens = (BOS, *self._tokens, *(EOS,) * (padding + 1))
        weights = (1.0, *self._weights, *(1.0,) * (padding + 1))
        self._chunks.append(Chunk(tokens, weights, tuple(self._slots)))
        self._start([], [])

    def finish(self) -> Chunked:
        used = len(self._tokens)
        done = len(self._chunks)
        if used or not done:
            self.cut()
        return Chunked(tuple(self._chunks), ROOM * done + used)

    def _start(self, tokens: list[int], weights: list[float]) -> None:
        self._tokens, self._weights = tokens, weights
        self._slots: list[EmbeddingSlot] = []
        self._last_comma: int | None = None

    def _keep_phrase_together(self) -> None:
        """Where the chunk is full, move what follows a near comma to the next one."""
        full, comma = len(self._tokens) == ROOM, self._last_comma
        if not full or comma is None or len(self._tokens) - comma > self._backtrack:
            return
        at = comma + 1
        tokens, weights = self._tokens[at:], self._weights[at:]
        self._tokens, self._weights = self._tokens[:at], self._weights[:at]
        self.cut()
        self._start(tokens, weights)
