"""For how long, and how often, a server that is away is asked again."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 5.0
"""Seconds before a server that is away is asked again: twice as many each time."""

Clock = Callable[[], float]
"""What gives seconds, as time.monotonic does."""


class Patience:
    """Bears with a server that is away for so many seconds together, counted by the clock."""

    def __init__(self, seconds: float, clock: Clock = time.monotonic, *, end: float = math.inf) -> None:
        """`end`, by the clock, is when it is over in any case."""
        self.seconds, self._clock, self._end = seconds, clock, end
        self.answered()

    def answered(self) -> None:
        """The server is there; its next absence is another one."""
        self._away_since: float | None = None
        self._pause = FIRST_PAUSE

    def pause(self, silent_since: float) -> float | None:
        """Seconds to wait before the server is asked again; None where that was enough.

        `silent_since` is when it should have answered, at the first failure of an absence.
        """
        now = self._clock()
        if self._away_since is None:
            self._away_since = min(now, silent_since)
        left = min(self._away_since + self.seconds, self._end) - now
        if left <= 0:
            return None
        pause, self._pause = self._pause, min(2 * self._pause, LONGEST_PAUSE)
        return min(pause, left)
