"""Wrong values in words, briefly, however many and however large they are."""

from __future__ import annotations

import reprlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

TOLD = 10
"""Wrong values of which each is told; of more than these the number."""

SHOWN = 80
"""Characters of a value, and of its name, that are shown."""

SAID = 300
"""Characters of what is said of it: some of that repeats the value."""


def in_words(problems: Sequence[Mapping[str, Any]], leave_out: Collection[str], whole: str = "request") -> str:
    """One line per wrong value: `Width is 0: Input should be greater than or equal to 64.`

    `problems` are as pydantic lists them. What stands in `leave_out` is no part of a value's name; `whole` is the name
    where nothing of it is left.
    """
    lines = [_line(problem, leave_out, whole) for problem in problems[:TOLD]]
    if len(problems) > TOLD:
        lines.append(f"So it is with {len(problems) - TOLD} more values.")
    return " ".join(lines)


def _line(problem: Mapping[str, Any], leave_out: Collection[str], whole: str) -> str:
    parts = [str(part)[:SHOWN] for part in problem["loc"] if part not in leave_out]
    return f"{'.'.join(parts) or whole} is {shown(problem.get('input'))}: {_cut(problem['msg'], SAID)}."


def shown(value: object) -> str:
    """The value as Python spells it, cut short; of a large one no more than that is ever spelled out."""
    if isinstance(value, str | bytes):
        text = repr(value[:SHOWN])
    else:
        brief = reprlib.Repr()
        brief.maxstring = brief.maxother = SHOWN
        text = brief.repr(value)
    return _cut(text, SHOWN)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."
