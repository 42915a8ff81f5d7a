"""Having the files of a plan brought to a worker that does not see the server's disk."""

from __future__ import annotations

import itertools
import queue
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path

from modules.catalogue import Entry
from modules.jobs.messages import Need
from modules.params import TagbrushError

from .pipes import Pipes

_SECONDS_BETWEEN_LOOKS = 0.1


class NotBrought(TagbrushError):
    """A file of the server that could not be brought to this worker."""


class Needs:
    """Asks whoever is at the other end of the pipes for the files of each plan, if `asks` says so."""

    def __init__(self, pipes: Pipes, *, asks: bool) -> None:
        self._pipes, self._asks = pipes, asks
        self._numbers = itertools.count(1)

    def met(self, plan: object, is_over: Callable[[], bool]) -> bool:
        """True once every file that the plan names lies here; False if `is_over` came first. Raises NotBrought."""
        if not self._asks:
            return True
        number = next(self._numbers)
        files = sorted({str(path) for path in paths(plan)})
        self._pipes.send(Need(number=number, files=tuple(files)))
        while not is_over():
            try:
                answer = self._pipes.answers.get(timeout=_SECONDS_BETWEEN_LOOKS)
            except queue.Empty:
                continue
            if answer.number != number:
                continue  # of a job that was stopped while it waited
            if answer.error:
                raise NotBrought(answer.error)
            return True
        return False


def paths(value: object) -> Iterator[Path]:
    """The path of every entry of the catalogue within a value made of dataclasses, tuples and mappings."""
    if isinstance(value, Entry):
        yield value.path
    elif is_dataclass(value):
        for field in fields(value):
            yield from paths(getattr(value, field.name))
    elif isinstance(value, Mapping):
        yield from (path for part in value.values() for path in paths(part))
    elif isinstance(value, tuple | list | set | frozenset):
        yield from (path for part in value for path in paths(part))
