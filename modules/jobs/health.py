"""How often and how soon a worker is started again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how long the supervisor tries; times in seconds.

    A job gets `attempts`; `starts` in a row may fail before waiting jobs are failed as well; a job that was asked
    to stop has `to_stop` before a second request ends its worker by force; a worker has `to_end` when all ends.
    """

    attempts: int = 2
    starts: int = 3
    first_delay: float = 0.5
    longest_delay: float = 30.0
    to_stop: float = 5.0
    to_write: float = 1.0
    to_end: float = 3.0
    between_tidying: float = 3600.0
    unused_inputs: float = 7 * 86_400.0


@dataclass(slots=True)
class Health:
    """What starts and deaths so far tell about the next start; `hopeless` is why there shall be none."""

    patience: Patience
    is_ready: bool = False
    hopeless: str = ""
    _deaths: int = 0
    _failed_starts: int = 0

    @property
    def is_shaky(self) -> bool:
        """A worker died and none has finished a job since."""
        return self._deaths > 0

    def started(self) -> None:
        """A worker process runs, but cannot take a job yet."""
        self.is_ready = False

    def became_ready(self) -> None:
        """The worker can take a job."""
        self.is_ready, self.hopeless, self._failed_starts = True, "", 0

    def finished_a_job(self) -> None:
        """The worker lived through a job, so its next death is the first again."""
        self._deaths = 0

    def died(self, how: str) -> float:
        """Seconds to wait before the next start (unless `hopeless`); the first one comes at once, then ever later."""
        self._failed_starts = 0 if self.is_ready else self._failed_starts + 1
        self.is_ready = False
        if self._failed_starts >= self.patience.starts and not self.hopeless:
            self.hopeless = f"The worker process {how}, {self._failed_starts} times in a row."
        delay = self.patience.first_delay * 2 ** (self._deaths - 1) if self._deaths else 0.0
        self._deaths += 1
        return min(self.patience.longest_delay, delay)

    def hope_again(self) -> None:
        """Something may have been mended since: one more start is worth a try."""
        self.hopeless, self._failed_starts = "", self.patience.starts - 1
