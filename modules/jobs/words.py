"""What the workers say, and what follows from it."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Mapping
from functools import partial, singledispatchmethod
from typing import Protocol

from .dispatch import Dispatcher
from .ledger import Ledger
from .messages import (
    Done,
    Failed,
    Loading,
    Logged,
    Notice,
    PictureSaved,
    Preview,
    Ready,
    Starting,
    StepDone,
    Unusable,
)
from .process import log as worker_log
from .running import Outcome, Running, describe
from .schema import EventKind, JobState, Picture
from .slot import Slot
from .worker import Exit

log = logging.getLogger(__name__)


class Publish(Protocol):
    """Tells everyone what happened."""

    def __call__(self, kind: EventKind, data: Mapping[str, object], job_id: str | None = None) -> None: ...


class Words:
    """Listens to all workers; for the supervisor's thread alone."""

    def __init__(
        self,
        jobs: Dispatcher,
        ledger: Ledger,
        publish: Publish,
        has_nothing_to_do: Callable[[Slot], None],
        has_lost_one: Callable[[], None],
    ) -> None:
        """The last two are called when a new worker finds no job, and after the death of one."""
        self._jobs, self._ledger, self._publish = jobs, ledger, publish
        self._has_nothing_to_do, self._has_lost_one = has_nothing_to_do, has_lost_one

    @singledispatchmethod
    def hear(self, message: object, slot: Slot) -> None:
        """Act on what the worker of the slot said, or on its end."""
        log.error("Worker %d sent a %s, which is not for the server", slot.number, type(message).__name__)

    @hear.register
    def _(self, message: Starting, slot: Slot) -> None:
        slot.set_status("starting", message.text)

    @hear.register
    def _(self, message: Ready, slot: Slot) -> None:
        slot.health.became_ready()
        slot.set_status("ready", "", device=message.device)
        self._jobs.hand_out()
        if slot.is_idle:
            self._has_nothing_to_do(slot)

    @hear.register
    def _(self, message: Loading, slot: Slot) -> None:
        slot.set_status(slot.status.state, message.text)

    @hear.register
    def _(self, message: StepDone, slot: Slot) -> None:
        if running := _job_of(slot, message.job_id):
            progress = running.hear(slot.number, message)
            self._publish("progress", progress.model_dump(mode="json"), message.job_id)

    @hear.register
    def _(self, message: Preview, slot: Slot) -> None:
        running = _job_of(slot, message.job_id)
        if running is not None and running.show(slot.number, message.data):
            image = "data:image/jpeg;base64," + base64.b64encode(message.data).decode()
            self._publish("preview", {"job_id": message.job_id, "image": image}, message.job_id)

    @hear.register
    def _(self, message: PictureSaved, slot: Slot) -> None:
        if running := _job_of(slot, message.job_id):
            self._ledger.record(Picture(**message.model_dump()))
            running.note([message.index])

    @hear.register
    def _(self, message: Notice, slot: Slot) -> None:
        if _job_of(slot, message.job_id):
            self._ledger.lasting(partial(self._ledger.store.add_notice, message.job_id, message.text))

    @hear.register
    def _(self, message: Done, slot: Slot) -> None:
        if running := _job_of(slot, message.job_id):
            self._jobs.finish(slot, running, was_cut=message.interrupted)

    @hear.register
    def _(self, message: Failed, slot: Slot) -> None:
        if running := _job_of(slot, message.job_id):
            self._jobs.fail(slot, running, Outcome(JobState.FAILED, message.error, message.kind))

    @hear.register
    def _(self, message: Logged, slot: Slot) -> None:
        worker_log.log(message.level, "%s", message.text)

    @hear.register
    def _(self, message: Unusable, slot: Slot) -> None:
        slot.health.hopeless = message.error

    @hear.register
    def _(self, message: Exit, slot: Slot) -> None:
        last_words = "".join(f"\n{line}" for line in message.printed) or " nothing"
        log.warning("The worker process %s. It printed last:%s", message, last_words)
        try:
            self._jobs.bury(slot, message)
        finally:  # whatever becomes of the job, another worker is started
            slot.died(describe(message))
            self._has_lost_one()
        self._jobs.hand_out()


def _job_of(slot: Slot, job_id: str) -> Running | None:
    """The job that the worker has a part of, if it is this one."""
    return slot.running if slot.running is not None and slot.running.job.id == job_id else None
