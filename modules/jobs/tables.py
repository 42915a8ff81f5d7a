"""The tables of the queue file, and how a row becomes a value."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from modules.params import BadFile, Group, Img2ImgRequest, Settings, Txt2ImgRequest

from .schema import Event, Job, JobState, Picture

SCHEMA_VERSION = 5

_SCHEMA = """
CREATE TABLE jobs (
    id          TEXT PRIMARY KEY,
    rank        INTEGER NOT NULL,
    task        TEXT NOT NULL,
    state       TEXT NOT NULL,
    request     TEXT NOT NULL,
    settings    TEXT NOT NULL,
    attempts    INTEGER NOT NULL DEFAULT 0,
    created     REAL NOT NULL,
    started     REAL,
    finished    REAL,
    error       TEXT,
    notices     TEXT NOT NULL DEFAULT '[]',
    key         TEXT UNIQUE,
    error_kind  TEXT,
    resumed     REAL,
    wanted      TEXT
);
CREATE INDEX jobs_by_state ON jobs (state, rank);
CREATE INDEX jobs_by_rank ON jobs (rank);
CREATE TABLE pictures (
    job_id      TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    number      INTEGER NOT NULL,
    path        TEXT NOT NULL,
    seed        TEXT NOT NULL,
    subseed     TEXT NOT NULL,
    infotext    TEXT NOT NULL,
    width       INTEGER NOT NULL,
    height      INTEGER NOT NULL,
    created     REAL NOT NULL,
    kind        TEXT NOT NULL DEFAULT 'picture',
    PRIMARY KEY (job_id, number)
);
CREATE TABLE events (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id      TEXT,
    kind        TEXT NOT NULL,
    data        TEXT NOT NULL,
    created     REAL NOT NULL
);
CREATE INDEX events_by_job ON events (job_id);
CREATE TABLE inputs (
    id          TEXT PRIMARY KEY,
    data        BLOB NOT NULL,
    used        REAL NOT NULL
);
CREATE TABLE settings (
    key         TEXT PRIMARY KEY,
    value       TEXT NOT NULL
);
"""

_UPGRADES: Mapping[int, str] = {
    1: "ALTER TABLE pictures ADD COLUMN kind TEXT NOT NULL DEFAULT 'picture';",
    2: "ALTER TABLE jobs ADD COLUMN error_kind TEXT; ALTER TABLE jobs ADD COLUMN resumed REAL;",
    3: "ALTER TABLE jobs ADD COLUMN wanted TEXT;",
    4: "CREATE INDEX jobs_by_rank ON jobs (rank); CREATE INDEX events_by_job ON events (job_id);",
}
"""What makes a file of the version into one of the next."""

_REQUESTS: Mapping[str, type[Txt2ImgRequest] | type[Img2ImgRequest]] = {
    "txt2img": Txt2ImgRequest,
    "img2img": Img2ImgRequest,
}


def open_file(path: Path | None) -> sqlite3.Connection:
    """The queue file, made if need be, held exclusively (None: in memory). Raises BadFile when it cannot be used."""
    if path is not None:
        _make(path.parent)
    try:
        db = sqlite3.connect(path or ":memory:", check_same_thread=False, isolation_level=None, timeout=1)
    except sqlite3.OperationalError as error:
        raise BadFile(path or "queue", f"{error}; check the folder's rights, or give another --data-dir") from error
    try:
        _prepare(db, path)
    except sqlite3.OperationalError as error:
        db.close()
        reason = "another Tagbrush is using this data folder; stop it, or start this one with another --data-dir"
        raise BadFile(path or "queue", reason if "locked" in str(error) else str(error)) from error
    except sqlite3.DatabaseError as error:
        db.close()
        raise BadFile(path or "queue", f"not a usable queue ({error}); move the file away and start again") from error
    except BadFile:
        db.close()
        raise
    return db


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadFile(folder, f"not a folder, and none can be made there ({error}); give another --data-dir") from error


def _prepare(db: sqlite3.Connection, path: Path | None) -> None:
    db.row_factory = sqlite3.Row
    # Before anything is written: a file that has pages can be given it by VACUUM alone.
    db.execute("PRAGMA auto_vacuum = INCREMENTAL")
    db.execute("PRAGMA locking_mode = EXCLUSIVE")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA foreign_keys = ON")
    # Who opens the file waits a second for its lock. Later a wait would hold up everybody who asks how a job goes.
    db.execute("PRAGMA busy_timeout = 50")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise BadFile(path or "queue", f"made by a newer Tagbrush (version {version}); update this one to use it")
    if version == 0:
        db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
    elif version < SCHEMA_VERSION:
        upgrade = " ".join(_UPGRADES[old] for old in range(version, SCHEMA_VERSION))
        db.executescript(f"BEGIN IMMEDIATE; {upgrade} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        with suppress(sqlite3.OperationalError):  # for want of space: then the file stays one that never shrinks
            db.execute("VACUUM")


def job(row: sqlite3.Row, position: int | None, pictures: Sequence[sqlite3.Row]) -> Job:
    """The job of a row of `jobs`, with its rows of `pictures`."""
    return Job(
        id=row["id"],
        task=row["task"],
        state=JobState(row["state"]),
        wanted=row["wanted"] if row["state"] == JobState.RUNNING else None,
        position=position,
        attempts=row["attempts"],
        created=row["created"],
        started=row["started"],
        finished=row["finished"],
        error=row["error"],
        error_kind=row["error_kind"],
        request=_restored(_REQUESTS[row["task"]], row["request"]),
        settings=_settings(row["settings"]),
        key=row["key"],
        pictures=tuple(map(picture, pictures)),
        notices=tuple(json.loads(row["notices"])),
    )


def event(row: sqlite3.Row) -> Event:
    """The event of a row of `events`."""
    text = row["data"]
    return Event(kind=row["kind"], data=json.loads(text), id=row["id"], job_id=row["job_id"], _text=[text])


def picture(row: sqlite3.Row) -> Picture:
    """The picture of a row of `pictures`."""
    return Picture(
        job_id=row["job_id"],
        index=row["number"],
        path=Path(row["path"]),
        seed=int(row["seed"]),
        subseed=int(row["subseed"]),
        infotext=row["infotext"],
        width=row["width"],
        height=row["height"],
        kind=row["kind"],
    )


@lru_cache(maxsize=32)
def _settings(text: str) -> Settings:
    """The settings that were stored; most jobs have the same, which never change."""
    return _restored(Settings, text)


G = TypeVar("G", bound=Group)


def _restored(group: type[G], text: str) -> G:
    """What was stored, less the fields that this version has no longer, so that an old job can still be shown.

    Values that its limits refuse today stay as they are; the worker validates again before it runs a job.
    """
    known = {name: value for name, value in json.loads(text).items() if name in group.model_fields}
    try:
        return group.model_validate(known)
    except ValidationError:
        return group.model_construct(**known)
