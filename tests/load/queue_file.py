"""A queue file that others may lock: run in the server under test, which as a rule keeps them out."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from modules.jobs import tables


def share() -> None:
    """Have the queue file opened so that a second connection may use it too."""
    open_file = tables.open_file

    def shared(path: Path | None) -> sqlite3.Connection:
        db = open_file(path)
        # WAL that was begun with an exclusive lock keeps its index in memory, and the lock: it is begun once more.
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("PRAGMA locking_mode = NORMAL")
        db.execute("SELECT COUNT(*) FROM jobs").fetchone()
        db.execute("PRAGMA journal_mode = WAL")
        return db

    tables.open_file = shared
