"""A shelf: the entries of one kind at one moment, with what it takes to find, search and sort them at once."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

from modules.params import UnknownName

from .entries import Entry
from .natural import natural_key

MIN_TEXT_FOR_HIDDEN = 4
"""Hidden files are found only by a search at least this long (X007)."""

SORTS: Mapping[str, Callable[[Entry], Any]] = MappingProxyType(
    {
        "path": lambda entry: natural_key(entry.relative),
        "name": lambda entry: natural_key(entry.name),
        "created": lambda entry: entry.created_ns,
        "modified": lambda entry: entry.mtime_ns,
        "size": lambda entry: entry.size,
    }
)


class Shelf:
    """An immutable snapshot; entries come in natural order of their paths."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = _with_insert_names(entries)
        self._orders: dict[str, tuple[Entry, ...]] = {"path": self.entries}

    @cached_property
    def by_id(self) -> Mapping[str, Entry]:
        """Entries by id."""
        return {entry.id: entry for entry in self.entries}

    @cached_property
    def paths(self) -> Mapping[str, tuple[Entry, ...]]:
        """Entries by path below their folder, with and without ending."""
        return _table(self.entries, lambda entry: {entry.relative, entry.bare_relative})

    @cached_property
    def names(self) -> Mapping[str, tuple[Entry, ...]]:
        """Entries by file name, with and without ending."""
        return _table(self.entries, lambda entry: {entry.path.name, entry.name})

    @cached_property
    def aliases(self) -> Mapping[str, tuple[Entry, ...]]:
        """Entries by the name their trainer gave them."""
        return _table(self.entries, lambda entry: {entry.alias} - {entry.name})

    @cached_property
    def _haystacks(self) -> tuple[str, ...]:
        return tuple(
            f"/{entry.relative}\n{entry.alias}\n{entry.description}\n{entry.sha256 or ''}".casefold()
            for entry in self.entries
        )

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """Every sub-folder that holds an entry that is not hidden, in natural order."""
        found = {entry.category for entry in self.entries if not entry.hidden}
        return tuple(sorted(found - {""}, key=natural_key))

    def matches(self, name: str) -> tuple[Entry, ...]:
        """The entries that the name may mean, the one that it does mean first (P055).

        A path below the folder counts before a file's name, both with or without ending; that before an alias, and an
        alias only where one file alone claims it.
        """
        wanted = _normal(name)
        own = self.paths.get(wanted) or self.names.get(wanted)
        if own:
            return own
        aliased = self.aliases.get(wanted, ())
        return aliased if len(aliased) == 1 else ()

    def search(
        self, text: str, *, sort: str, descending: bool, offset: int, limit: int | None
    ) -> tuple[tuple[Entry, ...], int]:
        """A page of the entries in whose path, alias, description or hash every word occurs, and their total number."""
        entries = self._ordered(sort)
        words = text.casefold().split()
        if words:
            hits = {
                id(entry)
                for entry, hay in zip(self.entries, self._haystacks, strict=True)
                if all(word in hay for word in words)
            }
            entries = tuple(entry for entry in entries if id(entry) in hits)
        if len(text.strip()) < MIN_TEXT_FOR_HIDDEN:
            entries = tuple(entry for entry in entries if not entry.hidden)
        if descending:
            entries = entries[::-1]
        end = None if limit is None else offset + limit
        return entries[offset:end], len(entries)

    def _ordered(self, sort: str) -> tuple[Entry, ...]:
        """All entries in the given order."""
        if sort not in SORTS:
            raise UnknownName("Sort order", sort, SORTS)
        if sort not in self._orders:
            self._orders[sort] = tuple(sorted(self.entries, key=SORTS[sort]))
        return self._orders[sort]


def _normal(name: str) -> str:
    """A name in the form in which names are compared: systems differ in how they compose accents and part folders."""
    return unicodedata.normalize("NFC", name.replace("\\", "/"))


def _table(entries: Sequence[Entry], names: Callable[[Entry], set[str]]) -> Mapping[str, tuple[Entry, ...]]:
    """Entries by each of their names."""
    table: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        for name in names(entry):
            table[_normal(name)].append(entry)
    return {name: tuple(named) for name, named in table.items()}


def _with_insert_names(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """The entries with the shortest name that means each alone (X006)."""
    stems: dict[str, int] = defaultdict(int)
    paths: dict[str, int] = defaultdict(int)
    for entry in entries:
        stems[_normal(entry.name)] += 1
        paths[_normal(entry.bare_relative)] += 1

    def insert(entry: Entry) -> str:
        if stems[_normal(entry.name)] == 1:
            return entry.name
        path = entry.bare_relative
        return path if paths[_normal(path)] == 1 else entry.relative

    names = ((entry, insert(entry)) for entry in entries)
    return tuple(entry if entry.insert == name else replace(entry, insert=name) for entry, name in names)
