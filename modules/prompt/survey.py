"""What can be told about a prompt before it is drawn: its length, its embeddings, its brackets (P084, P085, P083)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .attention import Emphasis, Segment, parse_attention
from .chunks import ROOM, chunk
from .parse import ParsedPrompt
from .tokens import Tokenizer
from .words import EmbeddingWords, embedding_words

_PAIRS = {")": "(", "]": "[", "}": "{"}
_BRACKETS = re.compile(r"\\.|[()\[\]{}]", re.DOTALL)
_NAMES = {"(": "round brackets ( )", "[": "square brackets [ ]", "{": "curly brackets { }"}


@dataclass(frozen=True, slots=True)
class TokenCount:
    """How many tokens a prompt takes, and how many its chunks have room for."""

    used: int
    limit: int


@dataclass(frozen=True, slots=True)
class EmbeddingUse:
    """The embeddings that a prompt names, each once, and messages about those that it names in vain."""

    names: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()


def count_tokens(
    prompt: ParsedPrompt,
    tokenizer: Tokenizer,
    words: EmbeddingWords | None = None,
    *,
    mode: Emphasis = "Original",
    backtrack: int = 20,
) -> TokenCount:
    """The tokens of the longest text that any part of the prompt comes to at any step."""
    used = max(chunk(parse_attention(text, mode), tokenizer, words, backtrack).token_count for text in prompt.texts())
    return TokenCount(used, max(-(-used // ROOM), 1) * ROOM)


def find_embeddings(
    prompt: ParsedPrompt, tokenizer: Tokenizer, words: EmbeddingWords, *, mode: Emphasis = "Original"
) -> EmbeddingUse:
    """Which embeddings the prompt uses, in order, at any step."""
    refused = embedding_words(dict.fromkeys(words.refused, 1), tokenizer)
    segments = dict.fromkeys(segment for text in prompt.texts() for segment in parse_attention(text, mode))
    encoded = [tokenizer.encode(segment.text) for segment in segments if isinstance(segment, Segment)]
    names = dict.fromkeys(name for ids in encoded for name in _named(ids, words))
    in_vain = dict.fromkeys(name for ids in encoded for name in _named(ids, refused)) if words.refused else {}
    return EmbeddingUse(tuple(names), tuple(words.refused[name] for name in in_vain))


def check_brackets(text: str) -> tuple[str, ...]:
    """What is wrong with the brackets, in words for the user; nothing where they all match. `\\(` is no bracket."""
    opened: list[str] = []
    balance = dict.fromkeys(_NAMES, 0)
    in_order = True
    for bracket in _BRACKETS.findall(text):
        if bracket in balance:
            balance[bracket] += 1
            opened.append(bracket)
        elif bracket in _PAIRS:
            balance[_PAIRS[bracket]] -= 1
            in_order = in_order and bool(opened) and opened.pop() == _PAIRS[bracket]
    uneven = tuple(_uneven(_NAMES[bracket], excess) for bracket, excess in balance.items() if excess)
    return uneven or (() if in_order else ("The brackets are closed in the wrong order.",))


def _uneven(brackets: str, excess: int) -> str:
    return f"{brackets}: {abs(excess)} {'opened but not closed' if excess > 0 else 'closed but not opened'}."


def _named(ids: tuple[int, ...], words: EmbeddingWords) -> Iterator[str]:
    position = 0
    while position < len(ids):
        word = words.at(ids, position)
        if word:
            yield word.name
        position += len(word.ids) if word else 1
