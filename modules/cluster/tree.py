"""A worker's own view of the server's files: a tree of placeholders that contents take the place of."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterable
from pathlib import Path

from modules.catalogue.index import Index
from modules.catalogue.scan import Stamp

from .manifest import EXCERPT_AT, Changes, Item


class Tree:
    """Every file of the manifest at its place below `root`: a small one whole, another one as a hole of its size.

    What the server's catalogue knows of a file goes into the index that the engine here reads; so its catalogue finds
    the same names, kinds and families without looking into a file that is still a hole. Any thread may call.
    """

    def __init__(self, root: Path, index: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self._index = Index(index)
        self._items: dict[str, Item] = {}
        self._whole: set[str] = set()
        self._lock = threading.Lock()  # never held while contents are copied

    def close(self) -> None:
        """Close the index."""
        self._index.close()

    def path(self, place: str) -> Path:
        """Where a place is here."""
        return self.root / place

    def change(self, changes: Changes) -> None:
        """Make the tree what the manifest says. Raises OSError."""
        with self._lock:
            for place in changes.gone:
                self.path(place).unlink(missing_ok=True)
                self._items.pop(place, None)
                self._whole.discard(place)
            self._learn(changes.items)
            for item in changes.items:
                self._put(item)

    def lacking(self, paths: Iterable[str]) -> tuple[Item, ...]:
        """The files that are still holes, of the paths here that are named, each a file or a folder of them."""
        named = [Path(path) for path in paths]
        with self._lock:
            return tuple(
                item
                for place, item in self._items.items()
                if place not in self._whole and any(self.path(place).is_relative_to(path) for path in named)
            )

    def fill(self, item: Item, source: Path, *, is_ours: bool) -> None:
        """Have the contents of `source` at the item's place. Raises OSError.

        A file of the cache (`is_ours`) gets a second name, by which the cache sees that it is in use. A file that the
        manifest has by now with another size or time is still lacking afterwards.
        """
        target = self.path(item.place)
        fresh = target.with_name(f".{target.name}.whole")
        fresh.unlink(missing_ok=True)
        if is_ours:
            _link(source, fresh, item.mtime_ns)
        else:
            fresh.symlink_to(source)
        with self._lock:
            os.replace(fresh, target)
            if _is_same(self._items.get(item.place), item):
                self._whole.add(item.place)

    def _put(self, item: Item) -> None:
        known = self._items.get(item.place)
        self._items[item.place] = item
        if _is_same(known, item):
            return  # only what is known of it has changed
        target = self.path(item.place)
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_name(f".{target.name}.new")
        with fresh.open("wb") as file:
            if item.data is None:
                file.seek(EXCERPT_AT)
                file.write(item.excerpt)
                file.truncate(item.size)
            else:
                file.write(item.data)
        os.utime(fresh, ns=(item.mtime_ns, item.mtime_ns))
        os.replace(fresh, target)
        (self._whole.discard if item.data is None else self._whole.add)(item.place)

    def _learn(self, items: Iterable[Item]) -> None:
        stamped = [(Stamp(str(self.path(item.place)), item.size, item.mtime_ns), item) for item in items]
        kinds = {kind for _, item in stamped for kind in item.facts}
        for kind in kinds:
            self._index.save_facts(kind, {stamp: item.facts[kind] for stamp, item in stamped if kind in item.facts})
        for stamp, item in stamped:
            if item.sha256:
                self._index.save_hash(stamp, "sha256", item.sha256)


def _is_same(known: Item | None, item: Item) -> bool:
    """Whether the item is known, with the same contents as far as size and time tell."""
    return known is not None and (known.size, known.mtime_ns) == (item.size, item.mtime_ns)


def _link(source: Path, target: Path, mtime_ns: int) -> None:
    """`target` with the contents of `source` and that time; a second name of it unless another time is in use."""
    status = source.stat()
    if status.st_mtime_ns == mtime_ns or status.st_nlink == 1:
        try:
            os.link(source, target)
        except OSError:  # a file system without links
            shutil.copyfile(source, target)
    else:
        shutil.copyfile(source, target)
    os.utime(target, ns=(status.st_atime_ns, mtime_ns))
