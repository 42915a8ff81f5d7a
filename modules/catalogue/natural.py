"""Natural order: "a2" comes before "a10", and letter case does not count."""

from __future__ import annotations

import re

NaturalKey = tuple[str | int, ...]

_DIGITS = re.compile(r"([0-9]+)")


def natural_key(text: str) -> NaturalKey:
    """A sort key: text and whole numbers in turn."""
    parts = _DIGITS.split(text.casefold())
    return tuple(int(part) if place % 2 else part for place, part in enumerate(parts))
