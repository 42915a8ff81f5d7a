"""Embedding words: where a prompt names a textual inversion, found by token ids (P090-P093)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .tokens import Tokenizer

MAX_VECTORS = 75


@dataclass(frozen=True, slots=True)
class Word:
    """An embedding's name as token ids, and the number of its vectors."""

    name: str
    ids: tuple[int, ...]
    vectors: int


@dataclass(frozen=True, slots=True)
class EmbeddingWords:
    """The words that stand for embeddings; make one for a folder, use it for every prompt.

    Letter case does not tell words apart; of two names that are the same tokens the later one wins (P091).
    `refused` are the names that cannot be used, each with the reason in words for the user (P083).
    """

    refused: Mapping[str, str] = field(default_factory=dict)
    _words: Mapping[tuple[int, ...], Word] = field(default_factory=dict, repr=False)
    _lengths: Mapping[int, tuple[int, ...]] = field(default_factory=dict, repr=False)

    def at(self, ids: Sequence[int], position: int) -> Word | None:
        """The longest word that begins at `position`, or None."""
        for length in self._lengths.get(ids[position], ()):
            word = self._words.get(tuple(ids[position : position + length]))
            if word:
                return word
        return None


def embedding_words(vectors: Mapping[str, int], tokenizer: Tokenizer) -> EmbeddingWords:
    """The words for embeddings given as name -> number of vectors."""
    refused = {name: _refusal(name, count) for name, count in vectors.items() if not 1 <= count <= MAX_VECTORS}
    named = (Word(name, tokenizer.encode(name), count) for name, count in vectors.items() if name not in refused)
    words = {word.ids: word for word in named if word.ids}
    lengths: dict[int, set[int]] = {}
    for ids in words:
        lengths.setdefault(ids[0], set()).add(len(ids))
    longest_first = {first: tuple(sorted(found, reverse=True)) for first, found in lengths.items()}
    return EmbeddingWords(refused, words, longest_first)


def _refusal(name: str, vectors: int) -> str:
    return (
        f'Embedding "{name}" has {vectors} vectors and is not used: a prompt chunk has room for 1 to {MAX_VECTORS}. '
        "Its name is read as plain words."
    )
