"""The durable queue: jobs, pictures, events, inputs and settings in one SQLite file.

Every change of a job and the event that tells of it are written in one transaction, synchronously, so
that what a browser was told survives a power cut. One connection behind a lock serves all threads;
transactions are short. The file is held exclusively: two servers on one queue would run each job twice.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from modules.params import Img2ImgRequest, Settings, Txt2ImgRequest, named_inputs

from . import tables
from .schema import ErrorKind, Event, Job, JobState, Picture, QueueBlocked, UnknownJob

KEPT_EVENTS = 10_000

LARGEST_INPUTS = 2 * 2**30
"""Bytes that the inputs may have together."""

SURE_INPUTS = 3600.0
"""Seconds for which each of them stays, however many there are."""

_FORGOTTEN_AT_ONCE = 2
_PAGES_AT_ONCE = 512
"""How much of the upkeep is done while everybody else waits."""

PASSING = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
    }
)
"""SQLite's codes of what may be over in a while, without those of its extended codes."""

Announce = Callable[[Event], None]


class JobStore:
    """The one owner of the queue file; every method may be called from any thread.

    `announce` is called with each durable event after its transaction, in the order of ids.
    """

    def __init__(self, path: Path | None, *, announce: Announce | None = None, clock: Callable[[], float] = time.time):
        """Open or make the file (None: in memory). Raises BadFile when it is in use, broken or too new."""
        self._lock = threading.RLock()
        self._clock = clock
        self.announce: Announce = announce or (lambda event: None)
        self._db = tables.open_file(path)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    # Jobs

    def add(self, request: Txt2ImgRequest | Img2ImgRequest, settings: Settings, key: str | None = None) -> Job:
        """A new job at the end of the queue; the inputs that its request names stay as if they came just now.

        Raises UnknownJob when one of them is not stored.
        """
        job_id, now = uuid.uuid4().hex, self._clock()
        with self._transaction() as events:
            for name in named_inputs(request):
                if not self._db.execute("UPDATE inputs SET used = ? WHERE id = ?", (now, name)).rowcount:
                    raise UnknownJob(f"Input picture {name} is not stored. Upload it again.")
            self._db.execute(
                "INSERT INTO jobs (id, rank, task, state, request, settings, created, key) VALUES "
                "(?, (SELECT COALESCE(MAX(rank), 0) + 1 FROM jobs), ?, ?, ?, ?, ?, ?)",
                (
                    job_id,
                    request.task,
                    JobState.QUEUED,
                    request.model_dump_json(),
                    settings.model_dump_json(),
                    now,
                    key,
                ),
            )
            return self._told(job_id, events)

    def get(self, job_id: str) -> Job:
        """The job with its pictures. Raises UnknownJob."""
        with self._lock:
            row = self._db.execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone()
            if row is None:
                raise UnknownJob(f'There is no job "{job_id}". GET /tagbrush/v1/jobs lists those there are.')
            return self._job(row)

    def with_key(self, key: str) -> Job | None:
        """The job that was submitted under this idempotency key."""
        with self._lock:
            row = self._db.execute("SELECT * FROM jobs WHERE key = ?", (key,)).fetchone()
            return self._job(row) if row else None

    def active(self) -> tuple[Job, ...]:
        """The running job and then the queued ones, in the order in which they will be done."""
        with self._lock:
            rows = self._db.execute(
                "SELECT * FROM jobs WHERE state IN ('running', 'queued') ORDER BY state = 'queued', rank"
            ).fetchall()
            queued = sum(row["state"] == JobState.QUEUED for row in rows)
            return tuple(self._job(row, place) for place, row in enumerate(rows, start=1 - (len(rows) - queued)))

    def in_hand(self) -> tuple[Job, ...]:
        """The running jobs or, where there are none, the one that is next."""
        with self._lock:
            running = self._db.execute("SELECT * FROM jobs WHERE state = 'running' ORDER BY rank").fetchall()
            queued = "SELECT * FROM jobs WHERE state = 'queued' ORDER BY rank LIMIT 1"
            return tuple(self._job(row) for row in running or self._db.execute(queued).fetchall())

    def recent(self, limit: int = 50, offset: int = 0) -> tuple[Job, ...]:
        """Jobs of any state, the newest first."""
        with self._lock:
            rows = self._db.execute(
                # No job is ever removed, so that rows are numbered in the order of their making.
                "SELECT * FROM jobs ORDER BY rowid DESC LIMIT ? OFFSET ?",
                (limit, offset),
            ).fetchall()
            return tuple(self._job(row) for row in rows)

    def queue(self) -> tuple[str, ...]:
        """The ids of the queued jobs in order."""
        with self._lock:
            return tuple(
                row["id"] for row in self._db.execute("SELECT id FROM jobs WHERE state = 'queued' ORDER BY rank")
            )

    def move(self, job_id: str, position: int) -> Job:
        """The queued job, now at `position` (1 is next). Raises UnknownJob unless it is queued."""
        with self._transaction() as events:
            order = list(self.queue())
            if job_id not in order:
                raise UnknownJob(f'Job "{job_id}" is not waiting in the queue, so it cannot be moved.')
            ranks = [
                row["rank"] for row in self._db.execute("SELECT rank FROM jobs WHERE state = 'queued' ORDER BY rank")
            ]
            order.remove(job_id)
            order.insert(max(0, position - 1), job_id)
            self._db.executemany("UPDATE jobs SET rank = ? WHERE id = ?", zip(ranks, order, strict=True))
            return self._told(job_id, events)

    def start_next(self) -> Job | None:
        """The first queued job, now running and with one attempt more; None when nothing waits."""
        with self._transaction() as events:
            row = self._db.execute("SELECT id FROM jobs WHERE state = 'queued' ORDER BY rank LIMIT 1").fetchone()
            if row is None:
                return None
            self._db.execute(
                "UPDATE jobs SET state = 'running', attempts = attempts + 1, started = COALESCE(started, ?), "
                "resumed = ? WHERE id = ?",
                (now := self._clock(), now, row["id"]),
            )
            return self._told(row["id"], events)

    def count_attempt(self, job_id: str, attempts: int) -> Job:
        """The running job, a part of which was started for the `attempts`-th time."""
        with self._transaction() as events:
            changed = self._db.execute(
                "UPDATE jobs SET attempts = ? WHERE id = ? AND state = 'running' AND attempts < ?",
                (attempts, job_id, attempts),
            ).rowcount
            return self._told(job_id, events) if changed else self.get(job_id)

    def requeue(self, job_id: str, *, forgive: bool = False) -> Job:
        """The running job, queued again at its old place, or over where someone asked for its end.

        `forgive` takes the attempt off its account.
        """
        with self._transaction() as events:
            self._db.execute(
                "UPDATE jobs SET state = COALESCE(wanted, 'queued'), finished = CASE WHEN wanted IS NULL THEN NULL "
                "ELSE ? END, attempts = MAX(0, attempts - ?) WHERE id = ? AND state = 'running'",
                (self._clock(), int(forgive), job_id),
            )
            return self._told(job_id, events)

    def finish(self, job_id: str, state: JobState, error: str | None = None, kind: ErrorKind | None = None) -> Job:
        """The job in its final state; a job that is over already stays as it is."""
        with self._transaction() as events:
            changed = self._db.execute(
                "UPDATE jobs SET state = ?, error = ?, error_kind = ?, finished = ? "
                "WHERE id = ? AND state IN ('queued', 'running')",
                (state, error, kind, self._clock(), job_id),
            ).rowcount
            return self._told(job_id, events) if changed else self.get(job_id)

    def stop(self, job_id: str, wanted: JobState = JobState.CANCELLED) -> Job:
        """The job, cancelled if it was still waiting. Raises UnknownJob.

        Of a running one it is noted, the first time, in which state it shall end: that holds even if the server dies
        before its worker has stopped.
        """
        with self._transaction() as events:
            changed = self._db.execute(
                "UPDATE jobs SET state = 'cancelled', finished = ? WHERE id = ? AND state = 'queued'",
                (self._clock(), job_id),
            ).rowcount
            noted = self._db.execute(
                "UPDATE jobs SET wanted = ? WHERE id = ? AND state = 'running' AND wanted IS NULL", (wanted, job_id)
            ).rowcount
            return self._told(job_id, events) if changed or noted else self.get(job_id)

    def add_notice(self, job_id: str, text: str) -> None:
        """Note `text` on the job once, however often it is said."""
        with self._transaction() as events:
            job = self.get(job_id)
            if text in job.notices:
                return
            self._db.execute("UPDATE jobs SET notices = ? WHERE id = ?", (json.dumps([*job.notices, text]), job_id))
            self._record(events, "notice", {"job_id": job_id, "text": text}, job_id)

    def add_picture(self, picture: Picture, then: Callable[[], None] = lambda: None) -> None:
        """Note a finished picture; one made again in a retry replaces its forerunner, one told twice is told once.

        `then` is called once that is on disk, before anyone can see the picture.
        """
        with self._transaction(then) as events:
            known = "SELECT 1 FROM pictures WHERE job_id = ? AND number = ? AND path = ? AND infotext = ?"
            told = (picture.job_id, picture.index, str(picture.path), picture.infotext)
            if self._db.execute(known, told).fetchone():
                return
            self._db.execute(
                "INSERT OR REPLACE INTO pictures VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    picture.job_id,
                    picture.index,
                    str(picture.path),
                    str(picture.seed),
                    str(picture.subseed),
                    picture.infotext,
                    picture.width,
                    picture.height,
                    self._clock(),
                    picture.kind,
                ),
            )
            data = {"job_id": picture.job_id, **picture.model_dump(mode="json")}
            self._record(events, "picture", data, picture.job_id)

    def picture(self, job_id: str, index: int) -> Picture:
        """One finished picture. Raises UnknownJob."""
        with self._lock:
            row = self._db.execute("SELECT * FROM pictures WHERE job_id = ? AND number = ?", (job_id, index)).fetchone()
        if row is None:
            raise UnknownJob(f'Job "{job_id}" has no picture {index} yet.')
        return tables.picture(row)

    # Events

    def events_after(self, event_id: int, *, job_id: str | None = None, limit: int = 500) -> tuple[Event, ...]:
        """The stored events that follow `event_id`, of one job or of all, oldest first."""
        of_job = "" if job_id is None else "job_id = :job_id AND "
        query = f"SELECT * FROM events WHERE {of_job}id > :event_id ORDER BY id LIMIT :limit"
        with self._lock:
            rows = self._db.execute(query, {"job_id": job_id, "event_id": event_id, "limit": limit}).fetchall()
        return tuple(map(tables.event, rows))

    def first_event_id(self) -> int:
        """The id of the oldest event that is still stored; that of the next one where there is none."""
        with self._lock:
            oldest = self._db.execute("SELECT MIN(id) FROM events").fetchone()[0]
            return self.last_event_id() + 1 if oldest is None else oldest

    def last_event_id(self) -> int:
        """The id of the newest event, 0 when nothing has happened yet."""
        with self._lock:
            row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
            return row["seq"] if row else 0

    # Inputs

    def add_input(self, data: bytes) -> str:
        """The id (sha256 in hex) under which these bytes are stored; the same bytes are stored once."""
        name = hashlib.sha256(data).hexdigest()
        with self._transaction():
            self._db.execute(
                "INSERT INTO inputs VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET used = excluded.used",
                (name, data, self._clock()),
            )
        return name

    def has_input(self, name: str) -> bool:
        with self._lock:
            return self._db.execute("SELECT 1 FROM inputs WHERE id = ?", (name,)).fetchone() is not None

    def input(self, name: str) -> bytes:
        """The stored bytes. Raises UnknownJob."""
        with self._lock:
            row = self._db.execute("SELECT data FROM inputs WHERE id = ?", (name,)).fetchone()
        if row is None:
            raise UnknownJob(f"Input picture {name} is not stored. Upload it again.")
        return bytes(row["data"])

    # Settings

    def settings(self) -> dict[str, Any]:
        """Every stored option; those that have their default may be missing."""
        with self._lock:
            return {row["key"]: json.loads(row["value"]) for row in self._db.execute("SELECT key, value FROM settings")}

    def save_settings(self, changes: Mapping[str, Any]) -> None:
        """Store these options; the others stay."""
        with self._transaction():
            self._db.executemany(
                "INSERT INTO settings VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                [(key, json.dumps(value)) for key, value in changes.items()],
            )

    # Upkeep

    def running(self) -> tuple[Job, ...]:
        """The jobs that a worker has, or had when the server ended without warning."""
        return tuple(job for job in self.active() if job.state is JobState.RUNNING)

    def recover(self, *, attempts: int) -> tuple[Job, ...]:
        """Jobs found running at start, put back into the queue, or failed when `attempts` are used up.

        Those whose end was asked for are over. An attempt that brought a picture is not counted: such a job comes to
        its end, however often the server does.
        """
        with self._lock:
            return tuple(self._recover(job, attempts) for job in self.running())

    def _recover(self, job: Job, attempts: int) -> Job:
        has_come_on = self._has_come_on(job.id)
        if has_come_on or job.attempts < attempts or self._is_to_end(job.id):
            return self.requeue(job.id, forgive=has_come_on)
        return self.finish(
            job.id,
            JobState.FAILED,
            f"Tagbrush stopped {job.attempts} times while making this picture, so it is not tried again. "
            "Generate it once more if that had another cause.",
            "worker",
        )

    def _has_come_on(self, job_id: str) -> bool:
        """Whether the last attempt brought a picture."""
        query = "SELECT 1 FROM jobs JOIN pictures ON job_id = id WHERE id = ? AND pictures.created >= jobs.resumed"
        return self._db.execute(query, (job_id,)).fetchone() is not None

    def _is_to_end(self, job_id: str) -> bool:
        """Whether someone asked for the end of the running job."""
        query = "SELECT 1 FROM jobs WHERE id = ? AND wanted IS NOT NULL"
        return self._db.execute(query, (job_id,)).fetchone() is not None

    def prune(self, *, unused_inputs_before: float) -> bool:
        """Do some of the upkeep, and tell whether there may be more; everybody else waits only for a moment.

        The oldest events are forgotten, and inputs unused since a moment that no waiting job needs. Of the other inputs
        go the oldest until they are at most LARGEST_INPUTS bytes, though none of the last hour. The file gets smaller.
        """
        # First of all: SQLite looks for each page in the list of all that are free, so that should be a short one.
        if self._shrink():
            return True
        with self._transaction():
            self._db.execute("DELETE FROM events WHERE id <= ?", (self.last_event_id() - KEPT_EVENTS,))
            over = self._inputs_to_forget(unused_inputs_before)
            self._db.executemany("DELETE FROM inputs WHERE id = ?", over[-_FORGOTTEN_AT_ONCE:])
        is_more = bool(over) or self._shrink()
        with self._lock, _said_if_blocked():
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return is_more

    def _inputs_to_forget(self, unused_before: float) -> list[tuple[str]]:
        """The ids of inputs, the oldest last."""
        needed = {name for job in self.active() for name in named_inputs(job.request)}
        sure, room = self._clock() - SURE_INPUTS, LARGEST_INPUTS
        over: list[tuple[str]] = []
        for row in self._db.execute("SELECT id, used, length(data) AS size FROM inputs ORDER BY used DESC"):
            room -= row["size"]
            is_over = row["used"] < unused_before or (room < 0 and row["used"] < sure)
            if is_over and row["id"] not in needed:
                over.append((row["id"],))
        return over

    def _shrink(self) -> bool:
        """Give the disk back some of what the file does not use any more, and tell whether there is more."""
        with self._lock, _said_if_blocked():
            before = self._free_pages()
            # SQLite stops after each page, and of a statement without results `execute` would take only the first.
            self._db.executescript(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE})")
            return 0 < self._free_pages() < before

    def _free_pages(self) -> int:
        return self._db.execute("PRAGMA freelist_count").fetchone()[0]

    # Inside

    @contextmanager
    def _transaction(self, then: Callable[[], None] = lambda: None) -> Iterator[list[Event]]:
        """A transaction; the events put into the yielded list are announced once it is on disk.

        Raises QueueBlocked, with nothing changed, where the file is locked, or its disk or the memory full.
        """
        with self._lock:
            if self._db.in_transaction:
                raise AssertionError("a store method that changes something called another one")
            events: list[Event] = []
            try:
                with _said_if_blocked():
                    self._db.execute("BEGIN IMMEDIATE")
                    yield events
                    self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
            try:
                then()
            finally:  # what is on disk is told, whatever becomes of the rest
                for event in events:
                    self.announce(event)

    def _told(self, job_id: str, events: list[Event]) -> Job:
        job = self.get(job_id)
        self._record(events, "job", job.wire(), job_id)
        return job

    def _record(self, events: list[Event], kind: Any, data: Mapping[str, Any], job_id: str) -> None:
        event = Event(kind=kind, data=data, job_id=job_id)
        cursor = self._db.execute(
            "INSERT INTO events (job_id, kind, data, created) VALUES (?, ?, ?, ?)",
            (job_id, kind, event.text, self._clock()),
        )
        events.append(replace(event, id=cursor.lastrowid))

    def _job(self, row: sqlite3.Row, place: int | None = None) -> Job:
        """The job of a row; `place` is its place in the queue, should it be queued, where that is known."""
        pictures = self._db.execute("SELECT * FROM pictures WHERE job_id = ? ORDER BY number", (row["id"],)).fetchall()
        return tables.job(row, self._position(row, place), pictures)

    def _position(self, row: sqlite3.Row, place: int | None) -> int | None:
        if row["state"] != JobState.QUEUED:
            return None
        if place is not None:
            return place
        query = "SELECT COUNT(*) FROM jobs WHERE state = 'queued' AND rank <= ?"
        return self._db.execute(query, (row["rank"],)).fetchone()[0]


@contextmanager
def _said_if_blocked() -> Iterator[None]:
    """Within it, what of SQLite's errors may be over in a while becomes QueueBlocked."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF in PASSING:
            raise QueueBlocked(f"The queue file cannot be written: {error}. Is the disk full?") from error
        raise
    except MemoryError as error:  # Python's name for SQLITE_NOMEM
        raise QueueBlocked("The queue file cannot be written: there is too little memory.") from error
