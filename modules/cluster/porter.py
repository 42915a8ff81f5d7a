"""Brings the contents of files to a node, those only that it lacks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from modules.catalogue.hashes import digest_of
from modules.catalogue.index import Index
from modules.catalogue.scan import stamp
from modules.params import TagbrushError

from .manifest import Item

CHUNK = 1 << 25
"""Bytes that travel at once."""

WINDOW = 3
"""Chunks under way at a time: the object store need never hold a whole file."""

ATTEMPTS = 2
"""For a file that changes while it is copied."""


class Store(Protocol):
    """A node that takes files; what it raises is a TagbrushError."""

    @property
    def name(self) -> str: ...

    def offer(self, item: Item, digest: str) -> bool:
        """Whether the node has to be sent the contents."""

    def add(self, data: bytes) -> Callable[[], None]:
        """Start sending the next bytes; what is given back waits until they have arrived."""

    def finish(self, item: Item) -> None:
        """All bytes were sent."""


class Porter:
    """Sends files to one node; `tell` is called with what is going on, in words."""

    def __init__(self, store: Store, index: Index, tell: Callable[[str], None]) -> None:
        """`index` remembers hashes."""
        self._store, self._index, self._tell = store, index, tell

    def bring(self, items: tuple[Item, ...]) -> str:
        """Have the node hold these files; gives "", or why one of them could not be brought."""
        for item in items:
            try:
                self._bring(item)
            except (TagbrushError, OSError) as error:
                return f"{Path(item.path).name} could not be brought to {self._store.name}: {error}"
            finally:
                self._tell("")
        return ""

    def _bring(self, item: Item) -> None:
        path = Path(item.path)
        for attempt in range(ATTEMPTS):
            self._tell(f"Looking for {path.name} on {self._store.name}")
            digest = self._digest(path)
            if not self._store.offer(item, digest):
                return
            self._send(path)
            try:
                self._store.finish(item)
            except TagbrushError:
                if attempt + 1 == ATTEMPTS:
                    raise
            else:
                return

    def _send(self, path: Path) -> None:
        waiting: deque[Callable[[], None]] = deque()
        size, sent = max(1, path.stat().st_size), 0
        for data in _chunks(path):
            if len(waiting) == WINDOW:
                waiting.popleft()()
            self._tell(f"Copying {path.name} to {self._store.name}: {100 * sent // size} %")
            waiting.append(self._store.add(data))
            sent += len(data)
        for arrived in waiting:
            arrived()

    def _digest(self, path: Path) -> str:
        """The file's SHA-256, remembered for as long as its size and time stay the same. Raises OSError."""
        place = stamp(path)
        known = self._index.hash_of(place, "sha256") if place else None
        if known is None:
            known = digest_of(path)
            if place is not None and stamp(path) == place:
                self._index.save_hash(place, "sha256", known)
        return known


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while data := file.read(CHUNK):
            yield data
