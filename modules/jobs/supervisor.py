"""The supervisor: keeps one worker process alive and hands it the queue, one job at a time.

One thread owns all state here. Whatever happens elsewhere (a message, a death, a click) is posted to it
as an action, so that nothing needs a lock and nobody who posts ever waits.
"""

from __future__ import annotations

import base64
import logging
import math
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial, singledispatchmethod
from pathlib import Path
from typing import Protocol, TypeVar

from modules.params import Settings, named_inputs

from .bus import EventBus
from .health import Health, Patience
from .messages import (
    Done,
    Failed,
    FullSpeed,
    Input,
    Interrupt,
    Loading,
    Logged,
    Message,
    Notice,
    PictureSaved,
    Preload,
    Preview,
    Ready,
    Refresh,
    Skip,
    Starting,
    StepDone,
    Unusable,
)
from .process import WorkerProcess
from .process import log as worker_log
from .running import Running, describe, explain_failure
from .schema import (
    ErrorKind,
    Event,
    EventKind,
    Job,
    JobState,
    Picture,
    Progress,
    QueueBlocked,
    UnknownJob,
    WorkerState,
    WorkerStatus,
)
from .store import JobStore
from .worker import Exit, Worker

log = logging.getLogger(__name__)

T = TypeVar("T")


class SavedFiles(Protocol):
    """The pictures on disk, of which the worker's next word may never come."""

    def found(self, job: Job) -> Iterable[Picture]:
        """The job's saved pictures that it has no record of; nobody works on it while they are looked for."""

    def recorded(self, picture: Picture) -> None:
        """The picture is in the store: its file need not tell any more whose it is."""


class NoFiles:
    """Of a worker that leaves nothing to be found."""

    def found(self, job: Job) -> Iterable[Picture]:
        return ()

    def recorded(self, picture: Picture) -> None:
        """Nothing is to be done."""


class Supervisor:
    """Spawns `command`, feeds it from `store` and tells `bus`; see `WorkerLink` for what the queue asks of it."""

    def __init__(
        self,
        store: JobStore,
        bus: EventBus,
        command: Sequence[str],
        *,
        settings: Callable[[], Settings] = Settings,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        files: SavedFiles | None = None,
        tidy: Callable[[], None] = lambda: None,
        patience: Patience | None = None,
    ) -> None:
        """`settings` gives what holds now, for preloading; `tidy` is called once an hour."""
        self.store, self.bus, self._settings, self._tidy = store, bus, settings, tidy
        self._files = files or NoFiles()
        self._spawn_process = partial(WorkerProcess, command, self._receive, cwd=cwd, env=env)
        self._patience = patience or Patience()
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._live, name="supervisor", daemon=True)
        self._process: Worker | None = None
        self._running: Running | None = None
        self._health = Health(self._patience)
        self._restart_at = math.inf
        self._tidy_at = 0.0
        self._hurried = self._closing = False
        self._leaving = threading.Event()
        self.status = WorkerStatus(state="starting", message="The worker has not been started yet.")
        self.progress: Progress | None = None
        self.preview: bytes | None = None

    @property
    def pid(self) -> int | None:
        """The process id of the worker, while there is one."""
        process = self._process
        return process.pid if process else None

    # What the queue asks; each call returns at once

    def start(self) -> None:
        """Put jobs that a crash left running back into the queue, and start the worker."""
        self._inbox.put(self._recover)
        self._inbox.put(self._spawn)
        self._thread.start()

    def close(self) -> None:
        """End worker and thread; a job in hand goes back into the queue without losing an attempt."""
        self._leaving.set()
        if self._thread.is_alive():
            self._inbox.put(self._shut_down)
            self._thread.join()

    def wake(self) -> None:
        self._inbox.put(self._on_wake)

    def stop_job(self, job_id: str, state: JobState) -> None:
        self._inbox.put(partial(self._on_stop, job_id, state))

    def skip(self, job_id: str) -> None:
        self._inbox.put(partial(self._say, Skip(job_id=job_id)))

    def page_loaded(self) -> None:
        self._inbox.put(self._hurry)

    def files_changed(self, kind: str) -> None:
        self._inbox.put(partial(self._say, Refresh(kind=kind)))

    def preload(self, settings: Settings) -> None:
        self._inbox.put(partial(self._say, Preload(settings=settings.model_dump(mode="json"))))

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
                self._set_status(self.status.state, reason)

    def _pause(self) -> float:
        return max(0.0, min(self._tidy_at, self._restart_at) - time.monotonic())

    def _on_time(self) -> None:
        now = time.monotonic()
        if now >= self._tidy_at:
            self._tidy_at = now + self._patience.between_tidying
            self.store.prune(unused_inputs_before=time.time() - self._patience.unused_inputs)
            self._tidy()
        if now >= self._restart_at:
            self._spawn()

    def _receive(self, process: Worker, what: Message | Exit) -> None:
        self._inbox.put(partial(self._on_word, process, what))

    def _on_word(self, process: Worker, what: Message | Exit) -> None:
        if process is self._process:
            self._on(what)

    def _lasting(self, change: Callable[[], T]) -> T:
        """What the change of the store gives, which is tried for as long as the queue file cannot take it.

        Nothing is lost meanwhile: what the worker says waits in the inbox. Raises QueueBlocked once all is to end.
        """
        before = self.status
        while True:
            try:
                result = change()
            except QueueBlocked as error:
                if self.status is before:
                    log.warning("%s It is tried again every %g s.", error, self._patience.to_write)
                self._set_status(before.state, str(error))
                if self._leaving.wait(self._patience.to_write):
                    raise
            else:
                self._set_status(before.state, before.message)
                return result

    def _recover(self) -> None:
        for job in self.store.running():
            self._adopt(job.id)
        self._lasting(partial(self.store.recover, attempts=self._patience.attempts))

    # The worker's life

    def _spawn(self) -> None:
        self._restart_at = math.inf
        self._health.started()
        self._set_status("starting", "The worker process is starting.", device="")
        try:
            self._process = self._spawn_process()
        except OSError as error:
            self._count_death(f"could not be started: {error}")
            return
        if self._hurried or self.store.queue():
            self._hurry()

    def _hurry(self) -> None:
        self._hurried = True
        self._say(FullSpeed())

    def _say(self, message: Message) -> None:
        if self._process is not None:
            self._process.send(message)

    def _shut_down(self) -> None:
        self._closing = True
        process, self._process = self._process, None
        if process is not None:
            process.hang_up()
            if not self._health.is_ready:
                process.kill()  # it is deep in imports, where it hears late, and has nothing to lose
            if not process.join(self._patience.to_end):
                process.kill()
                process.join(self._patience.to_end)
        if self._running is not None:
            self._end_on_shut_down(self._running)

    def _end_on_shut_down(self, running: Running) -> None:
        self._adopt(running.job.id)
        if running.wanted is None:
            self.store.requeue(running.job.id, forgive=True)
        else:
            self.store.finish(running.job.id, running.wanted)

    def _count_death(self, how: str) -> None:
        """Note that the worker is gone, and decide when to start the next."""
        self._process = None
        delay = self._health.died(how)
        if self._health.hopeless:
            self._set_status("dead", self._health.hopeless, device="")
            self._fail_waiting(self._health.hopeless)
            return
        self._restart_at = time.monotonic() + delay
        self._set_status("dead", f"The worker process {how}. It is started again.", device="")

    def _fail_waiting(self, reason: str) -> None:
        for job_id in self.store.queue():
            self._lasting(partial(self.store.finish, job_id, JobState.FAILED, reason, "worker"))
        self._tell_queue()

    # Jobs

    def _on_wake(self) -> None:
        if self._health.hopeless and self._process is None:
            self._health.hope_again()
            self._spawn()
        self._hurry()
        self._hand_out()

    def _hand_out(self) -> None:
        if self._process is None or self._running is not None or not self._health.is_ready:
            return
        job = self._lasting(self.store.start_next)
        if job is None:
            self._set_status("ready")
            return
        self._running, self.progress, self.preview = Running(job), None, None
        self._tell_queue()
        try:
            inputs = self._inputs(job)
        except UnknownJob as error:
            self._finish(JobState.FAILED, str(error), "request")
            return
        self._set_status("busy")
        for message in (*inputs, self._running.message()):
            self._say(message)

    def _inputs(self, job: Job) -> tuple[Input, ...]:
        names = named_inputs(job.request)
        return tuple(Input(id=name, data=self.store.input(name)) for name in names)

    def _on_stop(self, job_id: str, state: JobState) -> None:
        running, now = self._running, time.monotonic()
        if running is None or running.job.id != job_id:
            return
        if running.wanted is None:
            running.wanted, running.asked = state, now
            self._say(Interrupt(job_id=job_id))
        elif now - running.asked >= self._patience.to_stop and self._process is not None:
            log.warning("The worker did not stop job %s when asked; it is ended by force", job_id)
            self._process.kill()

    def _finish(self, state: JobState, error: str | None = None, kind: ErrorKind | None = None) -> None:
        running, self._running = self._running, None
        self.progress = self.preview = None
        self._health.finished_a_job()
        if running is not None:
            self._lasting(partial(self.store.finish, running.job.id, state, error, kind))
        self._hand_out()

    def _is_current(self, job_id: str) -> bool:
        return self._running is not None and self._running.job.id == job_id

    # What the worker says

    @singledispatchmethod
    def _on(self, message: object) -> None:
        log.error("The worker sent a %s, which is not for the server", type(message).__name__)

    @_on.register
    def _(self, message: Starting) -> None:
        self._set_status("starting", message.text)

    @_on.register
    def _(self, message: Ready) -> None:
        self._health.became_ready()
        self._set_status("ready", "", device=message.device)
        self._hand_out()
        if self._running is None and not self._health.is_shaky:
            self._say(Preload(settings=self._settings().model_dump(mode="json")))

    @_on.register
    def _(self, message: Loading) -> None:
        self._set_status(self.status.state, message.text)

    @_on.register
    def _(self, message: StepDone) -> None:
        running = self._running
        if running is None or running.job.id != message.job_id:
            return
        self.progress = running.progress(message)
        self._publish("progress", self.progress.model_dump(mode="json"), message.job_id)

    @_on.register
    def _(self, message: Preview) -> None:
        if self._is_current(message.job_id):
            self.preview = message.data
            image = "data:image/jpeg;base64," + base64.b64encode(message.data).decode()
            self._publish("preview", {"job_id": message.job_id, "image": image}, message.job_id)

    @_on.register
    def _(self, message: PictureSaved) -> None:
        if self._is_current(message.job_id):
            self._record(Picture(**message.model_dump()))

    @_on.register
    def _(self, message: Notice) -> None:
        if self._is_current(message.job_id):
            self._lasting(partial(self.store.add_notice, message.job_id, message.text))

    @_on.register
    def _(self, message: Done) -> None:
        if self._is_current(message.job_id):
            wanted = self._running.wanted if self._running else None
            self._finish((wanted or JobState.INTERRUPTED) if message.interrupted else JobState.DONE)

    @_on.register
    def _(self, message: Failed) -> None:
        if self._is_current(message.job_id):
            self._finish(JobState.FAILED, message.error, message.kind)

    @_on.register
    def _(self, message: Logged) -> None:
        worker_log.log(message.level, "%s", message.text)

    @_on.register
    def _(self, message: Unusable) -> None:
        self._health.hopeless = message.error

    @_on.register
    def _(self, message: Exit) -> None:
        how = describe(message)
        last_words = "".join(f"\n{line}" for line in message.printed) or " nothing"
        log.warning("The worker process %s. It printed last:%s", message, last_words)
        running, self._running = self._running, None
        self.progress = self.preview = None
        if running is not None:
            self._settle(running, message)
        self._count_death(how)

    def _settle(self, running: Running, exit: Exit) -> None:
        """Decide what becomes of a job whose worker died."""
        job = running.job
        self._adopt(job.id)
        if running.wanted is not None:
            self._lasting(partial(self.store.finish, job.id, running.wanted))
        elif job.attempts < self._patience.attempts:
            notice = f"The worker process {exit}; the job was started again."
            self._lasting(partial(self.store.add_notice, job.id, notice))
            self._lasting(partial(self.store.requeue, job.id))
            self._tell_queue()
        else:
            reason = explain_failure(exit, job.attempts)
            self._lasting(partial(self.store.finish, job.id, JobState.FAILED, reason, "worker"))

    def _adopt(self, job_id: str) -> None:
        """Record the pictures of a job without a worker that were saved but not told."""
        for picture in self._files.found(self.store.get(job_id)):
            self._record(picture)

    def _record(self, picture: Picture) -> None:
        self._lasting(partial(self.store.add_picture, picture, partial(self._files.recorded, picture)))

    # Telling

    def _set_status(self, state: WorkerState, message: str = "", *, device: str | None = None) -> None:
        status = WorkerStatus(state=state, device=self.status.device if device is None else device, message=message)
        if status != self.status:
            self.status = status
            self._publish("worker", status.model_dump(mode="json"))

    def _tell_queue(self) -> None:
        self._publish("queue", {"ids": list(self.store.queue())})

    def _publish(self, kind: EventKind, data: Mapping[str, object], job_id: str | None = None) -> None:
        self.bus.publish(Event(kind=kind, data=data, job_id=job_id))


def _explain(error: Exception) -> str:
    """What went wrong in the queue, in words."""
    if isinstance(error, sqlite3.Error):
        return f"The queue file cannot be used: {error}. Is the disk full?"
    return f"The queue stumbled and goes on: {type(error).__name__}: {error}. The log tells where."
