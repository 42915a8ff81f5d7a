"""`Jobs`: what routes, page and command line use to ask for pictures and to watch them being made."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Collection, Mapping
from typing import Any, Protocol

from modules.params import (
    BadRequest,
    Frozen,
    Img2ImgRequest,
    Settings,
    TagbrushError,
    Txt2ImgRequest,
    check_job_options,
    check_limits,
    is_decided_from,
    with_seed,
)

from .bus import EventBus, Listener
from .schema import PASSING_KINDS, Event, EventKind, Job, JobState, Picture, Progress, WorkerStatus
from .store import JobStore

log = logging.getLogger(__name__)


class WorkerLink(Protocol):
    """What the queue needs of whatever makes the pictures; every call returns at once."""

    @property
    def status(self) -> WorkerStatus:
        """How all workers stand, in one."""

    @property
    def statuses(self) -> tuple[WorkerStatus, ...]:
        """How each worker stands."""

    def progress(self, job_id: str) -> Progress | None:
        """How far a running job is, once that is known."""

    def preview(self, job_id: str) -> bytes | None:
        """The last preview of a running job as JPEG bytes."""

    def start(self) -> None: ...

    def close(self) -> None: ...

    def wake(self) -> None:
        """Something waits in the queue."""

    def stop_job(self, job_id: str, state: JobState) -> None:
        """End this job, if it is running, in `state`; asked again later, by force."""

    def skip(self, job_id: str) -> None: ...

    def page_loaded(self) -> None: ...

    def files_changed(self, kind: str) -> None: ...

    def preload(self, settings: Settings) -> None: ...

    def unload(self) -> None: ...


class Jobs:
    """The queue as its users see it; every method may be called from any thread."""

    def __init__(
        self,
        store: JobStore,
        bus: EventBus,
        worker: WorkerLink,
        base: Settings | None = None,
        frozen: Frozen | None = None,
    ) -> None:
        """`base` are the settings where nobody has changed any; those in `frozen` nobody can change."""
        self._store, self._bus, self._worker = store, bus, worker
        self._base, self._frozen = base or Settings(), frozen or Frozen()
        self._submitting = threading.Lock()
        self._draw = random.SystemRandom().randrange

    def start(self) -> None:
        """Start the worker; the queue goes on where it stopped."""
        self._worker.start()

    def close(self) -> None:
        """Stop the worker; a running job goes back into the queue for the next start."""
        self._worker.close()
        self._store.close()

    # Asking

    def submit(
        self, request: Txt2ImgRequest | Img2ImgRequest, settings: Settings | None = None, *, key: str | None = None
    ) -> Job:
        """A new job at the end of the queue, its seed drawn and its settings fixed.

        The same idempotency `key` gives the job that it gave before. Raises UnknownName or BadRequest for
        `override_settings` that do not fit, for a key used with another request, and for unknown inputs; TooMuch for a
        job beyond the limits that hold.
        """
        with self._submitting:
            earlier = self._store.with_key(key) if key else None
            if earlier is not None:
                return _same(earlier, request)
            current = settings or self.settings()
            effective = current.requested(request.override_settings)
            self._frozen.check(current, effective)
            check_job_options(current, effective)
            check_limits(request, current)
            job = self._store.add(with_seed(request, self._draw), effective, key)
        self._tell_queue()
        self._worker.wake()
        return job

    def interrupt(self, job_id: str) -> Job:
        """Stop a running job within a step and keep its pictures, or take a waiting one away. Raises UnknownJob."""
        return self._stop(job_id, JobState.INTERRUPTED)

    def cancel(self, job_id: str) -> Job:
        """As `interrupt`, but the job counts as cancelled. Raises UnknownJob."""
        return self._stop(job_id, JobState.CANCELLED)

    def skip(self, job_id: str) -> Job:
        """Leave the batch that a running job is at and go on with its next. Raises UnknownJob."""
        job = self._store.get(job_id)
        self._worker.skip(job_id)
        return job

    def move(self, job_id: str, position: int) -> Job:
        """The waiting job at another place of the queue; 1 is next. Raises UnknownJob unless it waits."""
        job = self._store.move(job_id, position)
        self._tell_queue()
        return job

    def _stop(self, job_id: str, state: JobState) -> Job:
        job = self._store.stop(job_id, state)
        if job.state is JobState.RUNNING:
            self._worker.stop_job(job_id, state)
        self._tell_queue()
        return job

    # Watching

    def get(self, job_id: str) -> Job:
        """The job, with its progress while it runs. Raises UnknownJob."""
        return self._with_progress(self._store.get(job_id))

    def list(self, limit: int = 50, offset: int = 0) -> tuple[Job, ...]:
        """Jobs of any state, the newest first."""
        return tuple(map(self._with_progress, self._store.recent(limit, offset)))

    def active(self) -> tuple[Job, ...]:
        """The running jobs and the waiting ones, in the order in which they will be done."""
        return tuple(map(self._with_progress, self._store.active()))

    def in_hand(self) -> tuple[Job, ...]:
        """The running jobs or, where there are none, the one that is next."""
        return tuple(map(self._with_progress, self._store.in_hand()))

    @property
    def last_event(self) -> int:
        """The id of the newest durable event."""
        return self._bus.last_id

    def picture(self, job_id: str, index: int) -> Picture:
        """One finished picture, with its path. Raises UnknownJob."""
        return self._store.picture(job_id, index)

    def wait(self, job_id: str, timeout: float | None = None) -> Job:
        """The job once it is over, or as it is after `timeout` seconds. Raises UnknownJob."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            seen = self._bus.last_id
            job = self.get(job_id)
            remaining = None if deadline is None else deadline - time.monotonic()
            if job.state.is_final or not self._bus.wait_after(seen, remaining):
                return job

    def remembers(self, after: int) -> bool:
        """Whether everything that followed durable event `after` can still be told."""
        return self._store.first_event_id() - 1 <= after <= self._bus.last_id

    def listen(self, after: int | None = None, job_id: str | None = None) -> Listener:
        """A listener for events after durable event `after`, of one job or all; call it on the loop that reads it."""
        return self._bus.listen(after, job_id)

    def snapshot(self) -> Event:
        """Worker, active jobs and queue as they are now; its id is the last durable event it takes into account."""
        last_id = self._bus.last_id
        data = {
            "worker": self.worker.model_dump(mode="json"),
            "workers": [worker.model_dump(mode="json") for worker in self.workers],
            "jobs": [job.wire() for job in self.active()],
            "queue": list(self._store.queue()),
        }
        return Event(kind="snapshot", data=data, id=last_id)

    @property
    def worker(self) -> WorkerStatus:
        """How all workers stand, in one."""
        return self._worker.status

    @property
    def workers(self) -> tuple[WorkerStatus, ...]:
        """How each worker stands."""
        return self._worker.statuses

    def preview(self, job_id: str) -> bytes | None:
        """The latest preview of the job as JPEG bytes, while it runs."""
        return self._worker.preview(job_id)

    def _with_progress(self, job: Job) -> Job:
        progress = self._worker.progress(job.id) if job.state is JobState.RUNNING else None
        return job.model_copy(update={"progress": progress}) if progress else job

    def _tell_queue(self) -> None:
        self.announce("queue", {"ids": list(self._store.queue())})

    def announce(self, kind: EventKind, data: Mapping[str, Any]) -> None:
        """Publish a passing event, such as a change of the catalogue."""
        if kind not in PASSING_KINDS:
            raise AssertionError(f"{kind} events belong to a stored change")
        self._bus.publish(Event(kind=kind, data=data))

    # Inputs and settings

    def add_input(self, data: bytes) -> str:
        """The id (sha256 in hex) by which a request may name these bytes."""
        return self._store.add_input(data)

    def input(self, name: str) -> bytes:
        """The bytes of an input. Raises UnknownJob."""
        return self._store.input(name)

    def settings(self) -> Settings:
        """What holds for a job submitted now."""
        settings = self._base
        for name, value in self._store.settings().items():
            try:
                settings = settings.overridden({name: value})
            except TagbrushError as error:
                log.warning("A stored option is left out: %s", error)
        return settings

    def change_settings(self, changes: Mapping[str, Any]) -> Settings:
        """The settings with these changes, stored. Raises UnknownName or BadRequest, and then stores nothing."""
        current = self.settings()
        settings = current.requested(changes)
        self._frozen.check(current, settings)
        self._store.save_settings({name: getattr(settings, name) for name in changes})
        self._worker.preload(settings)
        if "sd_model_checkpoint" in changes:
            for kind in ("embedding", "lora", "hypernetwork"):  # their cards say what fits the checkpoint in use
                self.announce("catalogue", {"kind": kind})
        return settings

    # Telling the worker

    def page_loaded(self) -> None:
        """The page is on the screen: the worker need not hold back any more."""
        self._worker.page_loaded()

    def unload_models(self) -> None:
        """Let go of every model until the next job, where no job is in hand."""
        self._worker.unload()

    def load_model(self) -> None:
        """Have the chosen checkpoint in memory before the next job."""
        self._worker.preload(self.settings())

    def files_changed(self, kinds: str | Collection[str] = "") -> None:
        """Files of this kind or these kinds (all when empty) changed: tell worker and listeners."""
        for kind in (kinds,) if isinstance(kinds, str) else sorted(kinds):
            self._worker.files_changed(kind)
            self.announce("catalogue", {"kind": kind})


def _same(earlier: Job, request: Txt2ImgRequest | Img2ImgRequest) -> Job:
    if not is_decided_from(earlier.request, request):
        raise BadRequest(
            f'Idempotency key "{earlier.key}" was used for another request. Use a new key, or send the same request.'
        )
    return earlier
