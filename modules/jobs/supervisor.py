"""The supervisor: hands the queue to the workers, each job to one or, batch by batch, to several of them.

One thread owns all state here. Whatever happens elsewhere (a message, a death, a click) is posted to it
as an action, so that nothing needs a lock and nobody who posts ever waits.
"""

from __future__ import annotations

import logging
import math
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial

from modules.params import Settings

from .bus import EventBus
from .dispatch import Dispatcher
from .health import Patience
from .inbox import Action, Inbox
from .ledger import Ledger, NoFiles, SavedFiles
from .messages import FullSpeed, Message, Preload, Preview, Refresh, StepDone, Unload
from .schema import Event, EventKind, JobState, Progress, QueueBlocked, WorkerStatus
from .slot import Slot, end_all, together
from .store import JobStore
from .words import Words
from .worker import Exit, Spawn, Worker

log = logging.getLogger(__name__)

PRUNING_PAUSE = 0.1
"""Seconds between two steps of the queue file's upkeep."""


class Supervisor:
    """Feeds the workers of `spawns` from `store` and tells `bus`; see `WorkerLink` for what the queue asks of it."""

    def __init__(
        self,
        store: JobStore,
        bus: EventBus,
        spawns: Sequence[Spawn],
        *,
        settings: Callable[[], Settings] = Settings,
        files: SavedFiles | None = None,
        tidy: Action = lambda: None,
        patience: Patience | None = None,
    ) -> None:
        """`settings` gives what holds now, for preloading; `tidy` is called once an hour."""
        self.store, self.bus, self._settings, self._tidy = store, bus, settings, tidy
        self._patience = patience or Patience()
        self._ledger = Ledger(store, files or NoFiles(), self._have_trouble, pause=self._patience.to_write)
        self._inbox = Inbox()
        self._thread = threading.Thread(target=self._live, name="supervisor", daemon=True)
        self._slots = tuple(
            Slot(number, spawn, self._receive, self._tell_workers, self._patience)
            for number, spawn in enumerate(spawns)
        )
        self._jobs = Dispatcher(self._slots, self._ledger, self._tell_queue, self._patience)
        self._words = Words(self._jobs, self._ledger, self._publish, self._make_ready, self._despair)
        self._tidy_at, self._prune_at = 0.0, math.inf
        self._hurried = self._closing = False
        self._trouble = ""
        self._told: Mapping[str, object] = {}

    # What the queue asks; each call returns at once

    def start(self) -> None:
        """Put jobs that a crash left running back into the queue, and start the workers."""
        self._inbox.put(self._recover)
        for slot in self._slots:
            self._inbox.put(partial(self._start, slot))
        self._thread.start()

    def close(self) -> None:
        """End workers and thread; a job in hand goes back into the queue without losing an attempt."""
        self._ledger.leave()
        if self._thread.is_alive():
            self._inbox.put(self._shut_down)
            self._thread.join()

    def wake(self) -> None:
        self._inbox.put(self._on_wake)

    def stop_job(self, job_id: str, state: JobState) -> None:
        self._inbox.put(partial(self._jobs.stop, job_id, state))

    def skip(self, job_id: str) -> None:
        self._inbox.put(partial(self._jobs.skip, job_id))

    def page_loaded(self) -> None:
        self._inbox.put(self._hurry)

    def files_changed(self, kind: str) -> None:
        self._inbox.put(partial(self._say_to_all, Refresh(kind=kind)))

    def preload(self, settings: Settings) -> None:
        self._inbox.put(partial(self._preload, self._slots, settings))

    def unload(self) -> None:
        self._inbox.put(self._unload)

    @property
    def status(self) -> WorkerStatus:
        """How all workers stand, in one."""
        return together(self.statuses, self._trouble)

    @property
    def statuses(self) -> tuple[WorkerStatus, ...]:
        """How each worker stands."""
        return tuple(slot.status for slot in self._slots)

    def progress(self, job_id: str) -> Progress | None:
        """How far a job in hand is, once a worker has said it."""
        running = self._jobs.running(job_id)
        return running.progress if running else None

    def preview(self, job_id: str) -> bytes | None:
        """The last preview of a job in hand as JPEG bytes."""
        running = self._jobs.running(job_id)
        return running.preview if running else None

    @property
    def pids(self) -> tuple[int | None, ...]:
        """The process id of each worker, while there is one on this machine."""
        return tuple(slot.pid for slot in self._slots)

    # The thread

    def _live(self) -> None:
        while not self._closing:
            try:
                action = self._inbox.get(timeout=self._pause())
            except queue.Empty:
                action = self._on_time
            try:
                action()
            except Exception as error:
                # The queue's own loop: whatever breaks, the next action finds a thread that runs it.
                reason = _explain(error)
                log.exception(reason)
                self._have_trouble(reason)

    def _pause(self) -> float:
        next_at = min(self._tidy_at, self._prune_at, *(slot.restart_at for slot in self._slots))
        return max(0.0, next_at - time.monotonic())

    def _on_time(self) -> None:
        now = time.monotonic()
        if now >= self._tidy_at:
            self._tidy_at = now + self._patience.between_tidying
            self._tidy()
            self._prune_at = now
        if now >= self._prune_at:
            self._prune_at = math.inf
            with suppress(QueueBlocked):  # then next time
                if self.store.prune(unused_inputs_before=time.time() - self._patience.unused_inputs):
                    self._prune_at = now + PRUNING_PAUSE
        for slot in self._slots:
            if now >= slot.restart_at:
                self._start(slot)

    def _receive(self, slot: Slot, worker: Worker, what: Message | Exit) -> None:
        action = partial(self._on_word, slot, worker, what)
        if isinstance(what, Preview | StepDone):
            self._inbox.put_latest((slot.number, type(what)), action)
        else:
            self._inbox.put(action)

    def _on_word(self, slot: Slot, worker: Worker, what: Message | Exit) -> None:
        # Once something could not be recorded, nothing that was said after it may be: the job would end without it.
        if slot.is_of(worker) and not self._ledger.has_given_up:
            self._words.hear(what, slot)

    # From the first start to the last end

    def _recover(self) -> None:
        try:
            for job in self.store.running():
                self._ledger.adopt(job.id)
        finally:  # without it, no job found running would ever go on
            if not self._ledger.has_given_up:  # else all of it is done at the next start
                self._ledger.lasting(partial(self.store.recover, attempts=self._patience.attempts))

    def _start(self, slot: Slot) -> None:
        slot.start()
        self._despair()
        if self._hurried or self.store.queue():
            self._hurry()

    @property
    def _is_hopeless(self) -> bool:
        """Whether there is no worker and none will be started."""
        return all(slot.is_hopeless for slot in self._slots)

    def _despair(self) -> None:
        """Fail what waits, if nobody will ever do it."""
        if self._is_hopeless:
            self._jobs.fail_waiting(next((slot.health.hopeless for slot in self._slots), "There are no workers."))

    def _hurry(self) -> None:
        self._hurried = True
        self._say_to_all(FullSpeed())

    def _say_to_all(self, message: Message) -> None:
        for slot in self._slots:
            slot.say(message)

    def _make_ready(self, slot: Slot) -> None:
        """Have the checkpoint in use loaded, unless it may have been that which killed the worker."""
        if not slot.health.is_shaky:
            self._preload([slot], self._settings())

    def _preload(self, slots: Sequence[Slot], settings: Settings) -> None:
        for slot in slots:
            slot.say(Preload(settings=settings.model_dump(mode="json")))
            if slot.is_idle:
                slot.loaded.note(settings)

    def _unload(self) -> None:
        self._say_to_all(Unload())
        for slot in self._slots:
            if slot.is_idle:
                slot.loaded.clear()

    def _shut_down(self) -> None:
        self._closing = True
        ending = [worker for slot in self._slots if (worker := slot.let_go()) is not None]
        end_all(ending, self._patience.to_end)
        self._jobs.leave()

    def _on_wake(self) -> None:
        if self._is_hopeless:
            for slot in self._slots:
                slot.health.hope_again()
                self._start(slot)
        self._hurry()
        self._jobs.hand_out()

    # Telling

    def _have_trouble(self, trouble: str) -> None:
        """Say what is wrong with the queue itself, or, with nothing, that it is well again."""
        if trouble != self._trouble:
            self._trouble = trouble
            self._tell_workers()

    def _tell_workers(self) -> None:
        each = [status.model_dump(mode="json") for status in self.statuses]
        data = {**self.status.model_dump(mode="json"), "workers": each}
        if data != self._told:
            self._told = data
            self._publish("worker", data)

    def _tell_queue(self) -> None:
        self._publish("queue", {"ids": list(self.store.queue())})

    def _publish(self, kind: EventKind, data: Mapping[str, object], job_id: str | None = None) -> None:
        self.bus.publish(Event(kind=kind, data=data, job_id=job_id))


def _explain(error: Exception) -> str:
    """What went wrong in the queue, in words."""
    if isinstance(error, QueueBlocked):
        return str(error)
    if isinstance(error, sqlite3.Error):
        return f"The queue file cannot be used: {error}. Is the disk full?"
    return f"The queue stumbled and goes on: {type(error).__name__}: {error}. The log tells where."
