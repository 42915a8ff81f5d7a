"""What is kept of jobs, in the queue file and on the disk; a change that cannot be made just now is tried until it can.

Nothing is lost meanwhile: whoever makes the change waits, and what the workers say waits for it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Protocol, TypeVar

from .schema import Job, Picture, QueueBlocked
from .store import JobStore

log = logging.getLogger(__name__)

T = TypeVar("T")


class SavedFiles(Protocol):
    """The pictures on disk, of which a worker's next word may never come."""

    def found(self, job: Job, numbers: Collection[int] | None = None) -> Iterable[Picture]:
        """Those of the job's pictures with these numbers (None: all) that are saved and that it has no record of.

        Nobody works on them while they are looked for; others of the job may be made meanwhile.
        """

    def recorded(self, picture: Picture) -> None:
        """The picture is in the store: its file need not tell any more whose it is."""


class NoFiles:
    """Of workers that leave nothing to be found."""

    def found(self, job: Job, numbers: Collection[int] | None = None) -> Iterable[Picture]:
        return ()

    def recorded(self, picture: Picture) -> None:
        """Nothing is to be done."""


class Ledger:
    """Makes lasting changes; `tell` is called with what is in their way, and with "" once it is gone."""

    def __init__(self, store: JobStore, files: SavedFiles, tell: Callable[[str], None], *, pause: float) -> None:
        """`pause` is the time in seconds between two tries."""
        self.store = store
        self.tell, self._files, self._pause = tell, files, pause
        self._leaving = threading.Event()
        self.has_given_up = False
        """Whether a change was left undone since all is to end."""

    def leave(self) -> None:
        """All is to end: what cannot be changed now is not waited for."""
        self._leaving.set()

    def lasting(self, change: Callable[[], T]) -> T:
        """What the change of the store gives. Raises QueueBlocked once all is to end."""
        is_blocked = False
        while True:
            try:
                result = change()
            except QueueBlocked as error:
                if not is_blocked:
                    log.warning("%s It is tried again every %g s.", error, self._pause)
                    self.tell(str(error))
                is_blocked = True
                if self._leaving.wait(self._pause):
                    self.has_given_up = True
                    raise
            else:
                if is_blocked:
                    self.tell("")
                return result

    def record(self, picture: Picture) -> None:
        """Note the picture, and on its file that it is noted."""
        self.lasting(partial(self.store.add_picture, picture, partial(self._files.recorded, picture)))

    def adopt(self, job_id: str, numbers: Collection[int] | None = None) -> set[int]:
        """The numbers of those pictures that were saved but not told, now recorded; nobody may be making them.

        A disk that cannot be read hides the rest, which is made again.
        """
        adopted = set()
        try:
            for picture in self._files.found(self.store.get(job_id), numbers):
                self.record(picture)
                adopted.add(picture.index)
        except OSError as error:
            log.warning("Unrecorded pictures of job %s cannot be looked for: %s", job_id, error)
        return adopted
