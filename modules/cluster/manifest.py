"""What files the server has, for nodes that do not see its disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from modules.catalogue import KINDS, Catalogue, Entry, Facts, Kind, StyleFiles
from modules.catalogue.scan import CONFIGURATION, SIDECAR_ENDINGS
from modules.params import TagbrushError

from .places import place_of

SMALL = 1 << 16
"""Bytes up to which a file travels with the manifest."""

EXCERPT_AT, EXCERPT = 0x100000, 0x10000
"""Where in a checkpoint the part begins that its old hash is of, and how many bytes it has."""

_WEIGHTS = (".safetensors", ".bin", ".ckpt", ".pt")


class NotSeen(TagbrushError):
    """The server's own files cannot be looked through."""


@dataclass(frozen=True, slots=True)
class Item:
    """One file: what the server calls it, its place on nodes, its size and time, and what the catalogue knows of it.

    `data` are the contents of a small one; those of others are sent when a plan names them. `excerpt` is the part of a
    checkpoint, from byte `EXCERPT_AT`, by whose hash early versions named it (D011).
    """

    path: str
    place: str
    size: int
    mtime_ns: int
    data: bytes | None = field(default=None, repr=False)
    facts: Mapping[Kind, Facts] = field(default_factory=dict)
    sha256: str | None = None
    excerpt: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Changes:
    """What makes one manifest of another: items that are new or different, and the places of those that are gone."""

    items: tuple[Item, ...] = ()
    gone: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.items or self.gone)


class Manifest:
    """The server's files as they were at the last look. A look may raise NotSeen."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._items: dict[str, Item] = {}

    def look(self, kind: Kind | None = None) -> Changes:
        """What has changed since the last look; `kind` was told to have changed (None: look through all)."""
        with _in_words():
            self._catalogue.refresh(kind, patience=None)
        return self.glance()

    def glance(self) -> Changes:
        """As `look`, but folders to which no file came, and from which none went, are taken to be as they were."""
        with _in_words():
            before, self._items = self._items, {item.place: item for item in self._found()}
        new = tuple(item for place, item in self._items.items() if before.get(place) != item)
        return Changes(new, tuple(place for place in before if place not in self._items))

    def _found(self) -> Iterator[Item]:
        facts: dict[Path, dict[Kind, Facts]] = {}
        hashes: dict[Path, str | None] = {}
        beside: set[Path] = {*StyleFiles(self._catalogue.folders.styles).files()}
        for kind in KINDS:
            for entry in self._examined(kind):
                known = facts.setdefault(entry.path, {})
                hashes[entry.path] = entry.sha256
                if not entry.facts.is_fleeting:
                    known[kind] = entry.facts
                beside.update(_beside(kind, entry))
        if self._catalogue.folders.vae_path:
            facts.setdefault(self._catalogue.folders.vae_path, {})
        for path in sorted(beside):
            yield from self._item(path, is_small=True)
        for path, known in facts.items():
            if path.is_dir():
                for file in sorted(path.rglob("*")):
                    yield from self._item(file, is_small=file.suffix not in _WEIGHTS)
            else:
                yield from self._item(path, known, hashes.get(path))

    def _examined(self, kind: Kind) -> tuple[Entry, ...]:
        entries = self._catalogue.current_entries(kind)
        if all(entry.examined for entry in entries):
            return entries
        self._catalogue.refresh(kind, patience=None)
        return self._catalogue.entries(kind)

    def _item(
        self,
        path: Path,
        facts: Mapping[Kind, Facts] | None = None,
        sha256: str | None = None,
        *,
        is_small: bool = False,
    ) -> Iterator[Item]:
        """The file as it is now; nothing where it is gone, or is none."""
        place = place_of(path)
        try:
            if not path.is_file():
                return
            status = path.stat()
            known = self._items.get(place)
            is_same = known is not None and (known.size, known.mtime_ns) == (status.st_size, status.st_mtime_ns)
            if known is not None and is_same:
                data, excerpt = known.data, known.excerpt
            else:
                data = path.read_bytes() if is_small or status.st_size <= SMALL else None
                excerpt = _excerpt(path) if data is None and facts and "checkpoint" in facts else b""
        except OSError:
            return
        yield Item(str(path), place, status.st_size, status.st_mtime_ns, data, facts or {}, sha256, excerpt)


@contextmanager
def _in_words() -> Iterator[None]:
    """Has what goes wrong with folders, or with the catalogue's index of them, be a NotSeen."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise NotSeen(f"The server's files cannot be looked through: {error}. Check their disks.") from error


def _excerpt(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(EXCERPT_AT)
        return file.read(EXCERPT)


def _beside(kind: Kind, entry: Entry) -> Iterator[Path]:
    """What lies beside an entry and changes how it is used.

    A checkpoint's own configuration may name a folder beside it, whose `config.json` says how its text encoder is.
    """
    for ending in SIDECAR_ENDINGS if entry.sidecar else ():
        if (path := entry.path.with_name(entry.name + ending)).is_file():
            yield path
    if kind == "checkpoint" and (path := entry.path.with_suffix(CONFIGURATION)).is_file():
        yield path
        yield from path.parent.glob("*/config.json")
