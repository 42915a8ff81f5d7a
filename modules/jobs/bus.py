"""The event bus: one stream of what happens, for any number of listeners of any speed.

Durable events (jobs, pictures, notices) reach every listener, in order and without a gap: a listener
is only a cursor into them, so a reconnecting browser and a slow one are served the same way. Of the
passing kinds (progress, previews) a listener keeps the latest per job, and hears of them ten times a second.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from enum import IntEnum
from itertools import takewhile
from typing import Protocol

from .schema import PASSING_KINDS, Event

REMEMBERED = 250
"""Events that listeners get without a look into the store; each may hold a whole job with its texts."""

PAUSE = 0.1
"""Seconds between two deliveries of passing events to a listener: smooth to the eye, and cheap for many listeners."""


class Recall(Protocol):
    """Stored durable events that follow `event_id`, oldest first: some at a time, of one job or of all."""

    def __call__(self, event_id: int, *, job_id: str | None = None) -> tuple[Event, ...]: ...


class EventBus:
    """Carries events from any thread to listeners on asyncio loops.

    `recall` is asked by listeners that are further behind than the bus remembers, in threads of their own.
    """

    def __init__(self, recall: Recall, last_id: int = 0) -> None:
        self._recall = recall
        self._lock = threading.Condition()
        self._recent: deque[Event] = deque(maxlen=REMEMBERED)
        self._last_id = last_id
        self._listeners: set[Listener] = set()

    @property
    def last_id(self) -> int:
        with self._lock:
            return self._last_id

    def publish(self, event: Event) -> None:
        """Tell every listener; never waits for any of them."""
        with self._lock:
            if event.id is not None:
                self._recent.append(event)
                self._last_id = event.id
                self._lock.notify_all()
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener._tell(event)

    def listen(self, after: int | None = None, job_id: str | None = None) -> Listener:
        """A listener for what follows durable event `after` (None: from now on), of one job or of everything.

        To be called on the asyncio loop that will read it, and closed after use (`with`).
        """
        with self._lock:
            start = self._last_id if after is None or after > self._last_id else after
            listener = Listener(self, start, job_id)
            self._listeners.add(listener)
        return listener

    def wait_after(self, event_id: int, timeout: float | None = None) -> bool:
        """Block until something durable follows `event_id`; False when `timeout` seconds pass without."""
        with self._lock:
            return self._lock.wait_for(lambda: self._last_id > event_id, timeout)

    def durable_after(self, event_id: int) -> tuple[Event, ...] | None:
        """Durable events that follow `event_id`; None where that is longer ago than the bus remembers."""
        with self._lock:
            if event_id >= self._last_id:
                return ()
            if self._recent and (self._recent[0].id or 0) <= event_id + 1:
                newest_first = takewhile(lambda event: (event.id or 0) > event_id, reversed(self._recent))
                return tuple(newest_first)[::-1]
        return None

    def recalled_after(self, event_id: int, job_id: str | None) -> tuple[tuple[Event, ...], int]:
        """Stored events that follow `event_id`, and the id of the event to go on after; takes its time."""
        last_id = self.last_id
        events = self._recall(event_id, job_id=job_id)
        return events, (events[-1].id if events else None) or last_id

    def _forget(self, listener: Listener) -> None:
        with self._lock:
            self._listeners.discard(listener)


class _Call(IntEnum):
    """How a listener has been called since it last took events."""

    NONE = 0
    SOON = 1
    NOW = 2


class Listener:
    """One reader of the bus, on one asyncio loop: a cursor into the durable events and the latest passing ones."""

    def __init__(self, bus: EventBus, cursor: int, job_id: str | None) -> None:
        self._bus = bus
        self._cursor = cursor
        self._job_id = job_id
        self._loop = asyncio.get_running_loop()
        self._awake = asyncio.Event()
        self._lock = threading.Lock()
        self._passing: dict[tuple[str, str | None], Event] = {}
        self._call = _Call.NONE
        self._rests_until = 0.0
        if cursor < bus._last_id:
            self._awake.set()

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()

    def close(self) -> None:
        self._bus._forget(self)

    async def get(self, timeout: float | None = None) -> tuple[Event, ...]:
        """The next events, at least one; none only when `timeout` seconds pass in silence."""
        while True:
            try:
                async with asyncio.timeout(timeout):
                    await self._awake.wait()
            except TimeoutError:
                return ()
            events = await self._take()
            if events:
                return events

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            for event in await self.get():
                yield event

    async def _take(self) -> tuple[Event, ...]:
        self._awake.clear()
        with self._lock:
            self._call = _Call.NONE
            cursor = self._cursor
        durable = self._bus.durable_after(cursor)
        if durable is None:
            # The store's lock and its file may be slow: the loop serves everybody else meanwhile.
            durable, cursor = await asyncio.to_thread(self._bus.recalled_after, cursor, self._job_id)
        elif durable:
            cursor = durable[-1].id or 0
        with self._lock:
            has_moved = cursor > self._cursor
            self._cursor = max(self._cursor, cursor)
        if has_moved:
            self._awake.set()
        passing = self._take_passing(at_once=bool(durable))
        over = {event.job_id for event in durable if _is_end(event)}
        return tuple(
            event
            for event in (*durable, *passing.values())
            if self._wants(event) and not (event.id is None and event.job_id in over)
        )

    def _take_passing(self, *, at_once: bool) -> dict[tuple[str, str | None], Event]:
        """The passing events, unless they are to wait for the end of the pause."""
        now = self._loop.time()
        with self._lock:
            if self._passing and now < self._rests_until and not at_once:
                self._call = max(self._call, _Call.SOON)
                self._loop.call_later(self._rests_until - now, self._awake.set)
                return {}
            passing, self._passing = self._passing, {}
        if passing:
            self._rests_until = now + PAUSE
        return passing

    def _wants(self, event: Event) -> bool:
        return self._job_id is None or event.job_id == self._job_id

    def _tell(self, event: Event) -> None:
        if not self._wants(event):
            self._pass_over(event)
            return
        call = _Call.SOON if event.kind in PASSING_KINDS else _Call.NOW
        with self._lock:
            if call is _Call.SOON:
                # The catalogue tells of one kind of file at a time: a change of LoRAs must not hide one of checkpoints.
                key = (event.kind, event.job_id or str(event.data.get("kind")))
                self._passing.pop(key, None)
                self._passing[key] = event
            elif _is_end(event):
                # A listener that takes nothing any more would else keep something of every job that was ever made.
                for kind in ("progress", "preview"):
                    self._passing.pop((kind, event.job_id), None)
            if call <= self._call:
                return
            self._call = call
        with suppress(RuntimeError):  # the loop is closed: nobody is left to wake
            self._loop.call_soon_threadsafe(self._wake, call)

    def _pass_over(self, event: Event) -> None:
        """Go past an event that is another job's, so that who waits long for one job need not read all the others'."""
        with self._lock:
            if event.id == self._cursor + 1:
                self._cursor += 1

    def _wake(self, call: _Call) -> None:
        rest = self._rests_until - self._loop.time()
        if call is _Call.SOON and rest > 0:
            self._loop.call_later(rest, self._awake.set)
        else:
            self._awake.set()


def _is_end(event: Event) -> bool:
    return event.kind == "job" and bool(event.data.get("finished"))
