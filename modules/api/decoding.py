"""Pictures that clients send, looked at a few at a time, however many come at once.

A file of 260 KB may hold 64 megapixels, which take 256 MB while they are looked at. Whoever has to wait waits without a
thread: the routes that need one, such as those that interrupt a job, go on meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial

from .fetch import is_address

AT_A_TIME = 2
"""Requests whose pictures are looked at at the same time."""

FETCHED_AT_A_TIME = 4
"""The same for those that name addresses on the web, so that nobody else has to wait for a slow server."""


@dataclass(frozen=True)
class Decoding:
    """Whose turn it is. Works on one event loop."""

    sent: asyncio.Semaphore = field(default_factory=partial(asyncio.Semaphore, AT_A_TIME))
    fetched: asyncio.Semaphore = field(default_factory=partial(asyncio.Semaphore, FETCHED_AT_A_TIME))

    def turn(self, texts: Iterable[str]) -> asyncio.Semaphore | nullcontext[None]:
        """What to enter before the pictures are looked at that these texts of a request stand for; none are no work."""
        pictures = [text for text in texts if text]
        if not pictures:
            return nullcontext()
        return self.fetched if any(map(is_address, pictures)) else self.sent
