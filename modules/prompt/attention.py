"""Emphasis: `(more)`, `[less]`, `(exactly:1.3)` and BREAK, read into segments of one weight each."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

Emphasis = Literal["None", "Ignore", "Original", "No norm"]

ROUND = 1.1
SQUARE = 1 / 1.1

# A group is repeated (`(cat:x3)`) up to this many characters in all; it keeps short prompts from becoming endless ones.
MAX_REPEATED = 10_000

# Brackets opened inside this many others are plain characters. It keeps hostile nesting linear in time.
MAX_DEPTH = 100

_TOKEN = re.compile(
    r"""
      \\[()\[\]\\]                                  # an escaped bracket or backslash
    | \\                                            # a backslash before anything else vanishes
    | :\s*+(?P<weight>[+-]?[.\d]++)\s*+\)           # a weight, with the bracket that it needs
    | :\s*+x(?P<times>[+-]?[.\d]++)\s*+\)           # a number of copies, likewise
    | [()\[\]:]
    | [^\\()\[\]:]+
    """,
    re.VERBOSE,
)
_BREAK = re.compile(r"\bBREAK\b")


@dataclass(frozen=True, slots=True)
class Segment:
    """Text that goes to the tokeniser in one piece, and the weight that all its tokens get."""

    text: str
    weight: float


@dataclass(frozen=True, slots=True)
class Break:
    """The word BREAK: the chunk ends here, whatever is in it."""


def parse_attention(text: str, mode: Emphasis = "Original") -> tuple[Segment | Break, ...]:
    """The segments of `text` in order, at least one; neighbours of equal weight are joined (P010-P021).

    `(cat:x3.2)` is three cats, the last at 1.2, as in reForge; A1111 has the words "cat:x3.2" (P020). Weights multiply
    from the inside out, so that floats equal A1111's to the last bit. Mode "None" takes every character literally,
    BREAK too; "Ignore" reads the syntax and drops the weights. Every string is legal.
    """
    if mode == "None":
        return (Segment(text, 1.0),)
    reader = _Reader()
    for token in _TOKEN.finditer(text):
        reader.read(token)
    reader.close_all()
    segments = reader.segments()
    if mode == "Ignore":
        return tuple(item if isinstance(item, Break) else replace(item, weight=1.0) for item in segments)
    return segments


class _Reader:
    """Collects pieces and, when a bracket closes, multiplies all the pieces since it was opened."""

    def __init__(self) -> None:
        self._pieces: list[str | Break] = []
        self._weights: list[float] = []
        self._round: list[int] = []
        self._square: list[int] = []
        self._repeated = 0

    def read(self, match: re.Match[str]) -> None:
        token, number, times = match[0], match["weight"], match["times"]
        if token.startswith("\\"):
            self._add(token[1:])
        elif token in "([" and len(self._round) + len(self._square) < MAX_DEPTH:
            (self._round if token == "(" else self._square).append(len(self._pieces))
        elif number is not None and self._round:
            self._close_weighted(token, _weight(number))
        elif times is not None and self._round:
            self._close_repeated(token, _weight(times))
        elif token == ")" and self._round:
            self._multiply(self._round.pop(), ROUND)
        elif token == "]" and self._square:
            self._multiply(self._square.pop(), SQUARE)
        else:
            self._add_text(token)

    def close_all(self) -> None:
        """Let brackets that were never closed act on the rest of the text."""
        for start in self._round:
            self._multiply(start, ROUND)
        for start in self._square:
            self._multiply(start, SQUARE)

    def segments(self) -> tuple[Segment | Break, ...]:
        found: list[Segment | Break] = []
        for weight, run in groupby(zip(self._pieces, self._weights, strict=True), key=lambda pair: pair[1]):
            found += _joined([piece for piece, _ in run], weight)
        return tuple(found) or (Segment("", 1.0),)

    def _close_weighted(self, token: str, weight: float | None) -> None:
        if weight is None:
            self._add(token.removesuffix(")"))
            weight = ROUND
        self._multiply(self._round.pop(), weight)

    def _close_repeated(self, token: str, times: float | None) -> None:
        """Close a group that is there several times: whole copies, the last one with what is left of the number."""
        start = self._round.pop()
        group, weights = self._pieces[start:], self._weights[start:]
        copies = max(int(abs(times)), 1) if times is not None else 0
        length = (copies - 1) * sum(len(piece) + 1 if isinstance(piece, str) else 1 for piece in group)
        if times is None or self._repeated + length > MAX_REPEATED:
            self._add(token.removesuffix(")"))
            self._multiply(start, ROUND)
            return
        self._repeated += length
        for _ in range(copies - 1):
            self._add(" ")
            self._pieces += group
            self._weights += weights
        last = len(self._pieces) - len(group)
        self._multiply(last, abs(times) - copies + 1)
        self._multiply(start, math.copysign(1, times))

    def _add(self, piece: str | Break) -> None:
        self._pieces.append(piece)
        self._weights.append(1.0)

    def _add_text(self, text: str) -> None:
        """Add text, cut at each BREAK, which swallows the white space around it (P046)."""
        *heads, tail = _BREAK.split(text)
        for index, head in enumerate(heads):
            self._add(head.strip() if index else head.rstrip())
            self._add(Break())
        self._add(tail.lstrip() if heads else tail)

    def _multiply(self, start: int, factor: float) -> None:
        self._weights[start:] = [weight * factor for weight in self._weights[start:]]


def _weight(number: str) -> float | None:
    """The number, or None where it is malformed (`1.2.3`) or beyond a float: then it is literal text (P018)."""
    try:
        weight = float(number)
    except ValueError:
        return None
    return weight if math.isfinite(weight) else None


def _joined(pieces: list[str | Break], weight: float) -> list[Segment | Break]:
    """Pieces of one weight as segments: text runs joined, breaks in between kept."""
    found: list[Segment | Break] = []
    for is_break, run in groupby(pieces, key=lambda piece: isinstance(piece, Break)):
        items = list(run)
        found += items if is_break else [Segment("".join(items), weight)]
    return found
