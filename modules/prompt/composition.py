"""Composition: `a AND b :0.5`, several prompts that guide one picture together (P040-P043)."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

_AND = re.compile(r"\bAND\b")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?|\d*\.\d+)")


@dataclass(frozen=True, slots=True)
class Part:
    """One prompt of a composition and the share it has in the guidance."""

    text: str
    weight: float


def split_and(text: str) -> tuple[Part, ...]:
    """The parts of a positive prompt, at least one; empty ones are kept.

    A number after the last colon of a part is its weight, also where there is no AND: `cat:3` is "cat" at three times
    the CFG scale. White space before AND, and before the weight, is dropped; after AND it is kept, as in A1111.
    """
    return tuple(_part(text) for text in _AND.split(text))


def _part(text: str) -> Part:
    head, colon, tail = text.rpartition(":")
    number = tail.strip()
    if colon and _NUMBER.fullmatch(number) and math.isfinite(weight := float(number)):
        return Part(head.rstrip(), weight)
    return Part(text.rstrip(), 1.0)
