"""The many names of a checkpoint (D012)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from .entries import Entry

_BRACKET = re.compile(r"\s*\[[^\]]*\]\s*$")
_LEGACY = re.compile(r"(?:^|\[)([0-9a-f]{8})(?:\]|$)")


def match_checkpoint(
    name: str, entries: Sequence[Entry], legacy_hash: Callable[[Path], str | None]
) -> tuple[Entry, ...]:
    """The checkpoint that the name means, by the first rule that gives one.

    Exactly: a title, model name, or hash (whole, ten digits, or the eight of early versions), or a name with a hash in
    brackets. In part: the shortest title that holds the text. Then the same without a hash in brackets.
    """
    wanted = name.strip()
    if not wanted:
        return ()
    for entry in entries:
        if wanted in _exact_names(entry):
            return (entry,)
    legacy = _LEGACY.search(wanted)
    if legacy:
        for entry in entries:
            if legacy[1] == legacy_hash(entry.path):
                return (entry,)
    return _containing(wanted, entries) or _containing(_BRACKET.sub("", wanted), entries)


def _exact_names(entry: Entry) -> Iterator[str]:
    yield entry.title
    yield entry.model_name
    if entry.sha256:
        short = entry.sha256[:10]
        yield from (entry.sha256, short, f"{entry.relative} [{short}]", f"{entry.name} [{short}]")


def _containing(text: str, entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """The entry with the shortest title that holds the text, letter case aside."""
    folded = text.casefold()
    holding = [entry for entry in entries if folded and folded in entry.title.casefold()]
    return (min(holding, key=lambda entry: len(entry.title)),) if holding else ()
