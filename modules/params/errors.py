"""Errors whose message reaches a person: each says what, what was got, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path


class TagbrushError(Exception):
    """Root of every error that is shown to a person as it stands."""


class BadRequest(TagbrushError):
    """A request whose values cannot be used; names the parameter, the value and the limits."""


LONGEST_NAME = 300
"""Characters of an unknown name that are compared and shown; comparing takes memory and time for each."""

LISTED = 30
"""Names to choose from that are listed; of more than these the number."""


class UnknownName(TagbrushError):
    """A name that nothing answers to; carries the nearest one that exists."""

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        self.what, self.name, self.known = what, name, tuple(known)
        shown = name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}..."
        folded = {known_name.casefold(): known_name for known_name in self.known}
        near = get_close_matches(shown.casefold(), folded, n=1, cutoff=0.5)
        self.nearest = folded[near[0]] if near else None
        if self.nearest:
            advice = f'Did you mean "{self.nearest}"?'
        elif self.known:
            more = f", and {len(self.known) - LISTED} more" if len(self.known) > LISTED else ""
            advice = f"Choose one of: {', '.join(self.known[:LISTED])}{more}."
        else:
            advice = "There is none to choose from yet."
        super().__init__(f'{what} "{shown}" is unknown. {advice}')


class BadFile(TagbrushError):
    """A file that cannot be used, with the reason and, where there is one, the remedy."""

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path, self.reason = Path(path), reason
        super().__init__(f"{self.path.name}: {reason}")
