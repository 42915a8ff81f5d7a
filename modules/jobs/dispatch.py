"""Who makes what: jobs go to idle workers in the order of the queue, and who is idle then helps those at work."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial

from modules.params import named_inputs

from .health import Patience
from .ledger import Ledger
from .messages import Input, Interrupt, Skip
from .running import Outcome, Part, Running, explain_failure
from .schema import Job, JobState, UnknownJob
from .slot import Slot
from .worker import Exit

log = logging.getLogger(__name__)


class Dispatcher:
    """The jobs in hand; for the supervisor's thread alone, save `running`."""

    def __init__(
        self, slots: Sequence[Slot], ledger: Ledger, tell_queue: Callable[[], None], patience: Patience
    ) -> None:
        """`tell_queue` is called after each change of what waits."""
        self._slots, self._ledger, self._tell_queue, self._patience = slots, ledger, tell_queue, patience
        self._store = ledger.store
        self._running: dict[str, Running] = {}
        """In the order in which they were begun."""

    def running(self, job_id: str) -> Running | None:
        """The job, if it is in hand."""
        return self._running.get(job_id)

    def hand_out(self) -> None:
        """Give every idle worker something to do, if there is anything."""
        while idle := [slot for slot in self._slots if slot.is_idle]:
            running = self._left_alone() or self._next_job() or self._shareable()
            if running is None:
                break
            self._give(min(idle, key=lambda slot: slot.fitness(running.job.settings)), running)
        for slot in idle:
            if slot.status.state != "ready":
                slot.set_status("ready")
        self._ledger.tell("")

    def _left_alone(self) -> Running | None:
        """A job that nobody works on, since whoever did has made only some of it."""
        return next((running for running in self._running.values() if running.waiting and not running.parts), None)

    def _next_job(self) -> Running | None:
        """The first job of the queue that can be started."""
        while (job := self._ledger.lasting(self._store.start_next)) is not None:
            running = self._running[job.id] = Running.of(job)
            self._tell_queue()
            try:
                running.inputs = self._inputs(job)
            except UnknownJob as error:
                running.fail(Outcome(JobState.FAILED, str(error), "request"))
                self._conclude(running)
            else:
                return running
        return None

    def _shareable(self) -> Running | None:
        """A job of which another worker can make some batches beside those who are at it."""
        return next((running for running in self._running.values() if running.waiting), None)

    def _give(self, slot: Slot, running: Running) -> None:
        """Have the worker make a part of the job."""
        workers = sum(not other.is_hopeless for other in self._slots)
        part = running.take(slot.number, workers)
        if part.share.attempt > running.job.attempts:
            count = partial(self._store.count_attempt, running.job.id, part.share.attempt)
            running.job = self._ledger.lasting(count)
        slot.running = running
        slot.loaded.note(running.job.settings, running.job)
        slot.set_status("busy")
        for message in (*running.inputs, running.message(part)):
            slot.say(message)

    def _inputs(self, job: Job) -> tuple[Input, ...]:
        names = named_inputs(job.request)
        return tuple(Input(id=name, data=self._store.input(name)) for name in names)

    # Being asked to stop

    def skip(self, job_id: str) -> None:
        """Have the batch left out whose steps are shown."""
        running = self._running.get(job_id)
        if running is not None and running.leader is not None:
            running.skip()
            self._slots[running.leader].say(Skip(job_id=job_id))

    def stop(self, job_id: str, state: JobState) -> None:
        """End the job in `state`, if it is in hand; asked again after a while, by force."""
        running = self._running.get(job_id)
        if running is None:
            return
        if running.wanted is None:
            running.stop(state)
            self._interrupt(running)
            self._conclude(running)
        elif time.monotonic() - running.asked >= self._patience.to_stop:
            log.warning("A worker did not stop job %s when asked; it is ended by force", job_id)
            for number in running.parts:
                self._slots[number].kill()

    def _interrupt(self, running: Running) -> None:
        for number in running.parts:
            self._slots[number].say(Interrupt(job_id=running.job.id))

    # Ends

    def finish(self, slot: Slot, running: Running, *, was_cut: bool) -> None:
        """The worker is through with its part of the job, and free for something else."""
        part = running.parts[slot.number]
        try:
            if not was_cut and not running.has_all_of(part):
                # Unless a batch was skipped, a picture was saved whose record failed.
                running.note(self._ledger.adopt(running.job.id, running.numbers(part)))
        finally:  # whatever that finds or cannot find, the worker is free
            if not self._ledger.has_given_up:  # else `leave` looks for what is saved, and ends the job then
                self._free(slot, running, was_cut=was_cut)

    def _free(self, slot: Slot, running: Running, *, was_cut: bool) -> None:
        """Take the part from the worker that is through with it, and give it something else."""
        slot.running = None
        slot.health.finished_a_job()
        running.finish(slot.number, was_cut=was_cut)
        self._conclude(running)
        self.hand_out()

    def fail(self, slot: Slot, running: Running, outcome: Outcome) -> None:
        """The worker cannot make its part of the job: nobody needs to make another."""
        running.fail(outcome)
        self._interrupt(running)
        self.finish(slot, running, was_cut=True)

    def bury(self, slot: Slot, exit: Exit) -> None:
        """Decide what becomes of the part that a worker had who died."""
        running, slot.running = slot.running, None
        if running is None:
            return
        part = running.parts[slot.number]
        try:
            running.note(self._ledger.adopt(running.job.id, running.numbers(part)))
        finally:  # whatever that finds or cannot find, the part is the dead worker's no more
            if not self._ledger.has_given_up:  # else `leave` looks for what is saved, and ends the job then
                self._settle(slot, running, part, exit)

    def _settle(self, slot: Slot, running: Running, part: Part, exit: Exit) -> None:
        """Take the part from the worker that died, and see to what it still owes."""
        if not running.is_stopping and running.has_all_of(part):
            # It died after its last picture, before it could say that it was through.
            running.finish(slot.number, was_cut=False)
        else:
            self._note_failure(running, part, exit)
            running.give_back(slot.number)
        if running.parts or not running.waiting:
            self._conclude(running)
            return
        del self._running[running.job.id]
        self._ledger.lasting(partial(self._store.requeue, running.job.id))
        self._tell_queue()

    def _note_failure(self, running: Running, part: Part, exit: Exit) -> None:
        """Say that the part is to be made again, or fail the job if that was tried often enough."""
        if not running.is_stopping and part.share.attempt >= self._patience.attempts:
            running.fail(Outcome(JobState.FAILED, explain_failure(exit, part.share.attempt), "worker"))
            self._interrupt(running)
        elif not running.is_stopping:
            notice = f"The worker process {exit}; the job was started again."
            self._ledger.lasting(partial(self._store.add_notice, running.job.id, notice))

    def fail_waiting(self, reason: str) -> None:
        """There will be no worker for what waits."""
        for job_id in self._store.queue():
            self._ledger.lasting(partial(self._store.finish, job_id, JobState.FAILED, reason, "worker"))
        self._tell_queue()

    def leave(self) -> None:
        """All workers are gone, as the server will be: what is not over goes back into the queue."""
        for job_id, running in self._running.items():
            self._ledger.adopt(job_id)
            if running.is_stopping:
                self._end(job_id, running.end)
            else:
                self._store.requeue(job_id, forgive=True)

    def _conclude(self, running: Running) -> None:
        """End the job, if there is nothing more of it to be made."""
        if not (running.parts or running.waiting):
            del self._running[running.job.id]
            self._ledger.lasting(partial(self._end, running.job.id, running.end))

    def _end(self, job_id: str, outcome: Outcome) -> Job:
        return self._store.finish(job_id, outcome.state, outcome.error, outcome.kind)
