"""The index: what was found out about files, kept between starts in SQLite.

It is a cache. Each row holds the size and mtime of the file it speaks of, and counts only while both are unchanged.
The server and the worker open the same file at once.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .entries import Facts, Kind
from .scan import Stamp

LAYOUT = 5
"""Raised when the tables, or what `examine` finds out, change; facts are then found out afresh, hashes are kept."""

_FACTS = """
create table if not exists facts (
    path text not null, kind text not null, size integer not null, mtime_ns integer not null, body text not null,
    primary key (path, kind)
) without rowid;
create table if not exists sidecars (
    path text primary key, size integer not null, mtime_ns integer not null, body text not null
) without rowid;
"""
_HASHES = """
create table if not exists hashes (
    path text not null, algorithm text not null, size integer not null, mtime_ns integer not null, digest text not null,
    primary key (path, algorithm)
) without rowid;
"""

Known = dict[Stamp, Any]
"""What is known of files."""


class Index:
    """The tables of one index file, or of memory alone where `path` is None or cannot be written."""

    def __init__(self, path: Path | None) -> None:
        self._lock = threading.Lock()
        self._connection = _open(path)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def facts(self, kind: Kind) -> Known:
        """The facts of every file of the kind."""
        rows = self._rows("select path, size, mtime_ns, body from facts where kind = ?", (kind,))
        return {Stamp(path, size, mtime_ns): _facts(body) for path, size, mtime_ns, body in rows}

    def save_facts(self, kind: Kind, facts: Mapping[Stamp, Facts]) -> None:
        """Keep what was found out about files of the kind."""
        rows = [(s.path, kind, s.size, s.mtime_ns, json.dumps(asdict(value))) for s, value in facts.items()]
        self._save("insert or replace into facts values (?, ?, ?, ?, ?)", rows)

    def sidecars(self) -> Known:
        """The contents of every sidecar."""
        rows = self._rows("select path, size, mtime_ns, body from sidecars")
        return {Stamp(path, size, mtime_ns): json.loads(body) for path, size, mtime_ns, body in rows}

    def save_sidecars(self, contents: Mapping[Stamp, Mapping[str, Any]]) -> None:
        """Keep the contents of sidecars."""
        rows = [(s.path, s.size, s.mtime_ns, json.dumps(value)) for s, value in contents.items()]
        self._save("insert or replace into sidecars values (?, ?, ?, ?)", rows)

    def hashes(self, algorithm: str) -> Known:
        """The hashes of every file hashed so far."""
        rows = self._rows("select path, size, mtime_ns, digest from hashes where algorithm = ?", (algorithm,))
        return {Stamp(path, size, mtime_ns): digest for path, size, mtime_ns, digest in rows}

    def hash_of(self, stamp: Stamp, algorithm: str) -> str | None:
        """The hash of one file."""
        rows = self._rows(
            "select digest from hashes where path = ? and algorithm = ? and size = ? and mtime_ns = ?",
            (stamp.path, algorithm, stamp.size, stamp.mtime_ns),
        )
        return rows[0][0] if rows else None

    def save_hash(self, stamp: Stamp, algorithm: str, digest: str) -> None:
        """Keep the hash of a file."""
        row = (stamp.path, algorithm, stamp.size, stamp.mtime_ns, digest)
        self._save("insert or replace into hashes values (?, ?, ?, ?, ?)", [row])

    def _rows(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """What the query gives; nothing where the disk cannot be read or another version took the tables away.

        What is not known is found out again, so that is no error.
        """
        with self._lock, contextlib.suppress(sqlite3.OperationalError):
            return self._connection.execute(query, values).fetchall()
        return []

    def _save(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Write the rows; not at all where the disk is full or the other process holds the file for too long.

        What is not kept is found out again, so that is no error.
        """
        with self._lock, contextlib.suppress(sqlite3.OperationalError), self._connection:
            self._connection.executemany(statement, rows)


def _open(path: Path | None) -> sqlite3.Connection:
    """A connection to the index with its tables; a damaged file is replaced, an unwritable place does without."""
    if path is None:
        return _connected(":memory:")
    try:
        return _connected(str(path))
    except sqlite3.OperationalError:
        return _connected(":memory:")
    except sqlite3.DatabaseError:
        for ending in ("", "-wal", "-shm"):
            path.with_name(path.name + ending).unlink(missing_ok=True)
        return _connected(str(path))


def _connected(name: str) -> sqlite3.Connection:
    connection = sqlite3.connect(name, timeout=10, check_same_thread=False)
    try:
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = normal")
        with closing(connection.execute("pragma quick_check(1)")) as cursor:
            (verdict,) = cursor.fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        with closing(connection.execute("pragma user_version")) as cursor:
            (layout,) = cursor.fetchone()
        if layout != LAYOUT:
            connection.executescript("drop table if exists facts; drop table if exists sidecars;")
        connection.executescript(_FACTS + _HASHES + f"pragma user_version = {LAYOUT};")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _facts(body: str) -> Facts:
    values = json.loads(body)
    size = values["native_size"]
    return Facts(**values | {"native_size": tuple(size) if size else None, "missing": tuple(values["missing"])})
