"""The place of one worker: its process, how healthy it is, what it has loaded, and the job that it has a part of."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from modules.params import Settings

from .health import Health, Patience
from .loaded import Loaded
from .messages import Message
from .running import Running
from .schema import WorkerState, WorkerStatus
from .worker import Exit, Spawn, Worker

Hear = Callable[["Slot", Worker, Message | Exit], None]


class Slot:
    """Starts its worker again whenever that ends; for the supervisor's thread alone, save `status` and `pid`."""

    def __init__(self, number: int, spawn: Spawn, hear: Hear, tell: Callable[[], None], patience: Patience) -> None:
        """`hear` is called from the worker's threads, `tell` after each change of `status`."""
        self.number = number
        self.health = Health(patience)
        self.loaded = Loaded()
        self.running: Running | None = None
        self.restart_at = math.inf
        self.status = WorkerStatus(state="starting", message="The worker has not been started yet.")
        self._spawn, self._hear, self._tell, self._patience = spawn, hear, tell, patience
        self._worker: Worker | None = None

    @property
    def pid(self) -> int | None:
        """The process id of the worker, while there is one on this machine."""
        worker = self._worker
        return worker.pid if worker else None

    @property
    def is_idle(self) -> bool:
        """Whether it can take a job."""
        return self._worker is not None and self.health.is_ready and self.running is None

    @property
    def is_hopeless(self) -> bool:
        """Whether there is no worker, and none will be started."""
        return self._worker is None and bool(self.health.hopeless)

    def is_of(self, worker: Worker) -> bool:
        """Whether this is the worker of now, not one that was given up."""
        return worker is self._worker

    def fitness(self, settings: Settings) -> tuple[int, bool, int]:
        """The less, the better for a job with these settings: first who has its model, then who need not let go of
        another, then the order in which the workers are named.
        """
        return (-self.loaded.fits(settings), not self.loaded.is_empty, self.number)

    # Its worker's life

    def start(self) -> None:
        """Start a worker; where that fails, it counts as a death."""
        self.restart_at = math.inf
        self.health.started()
        self.set_status("starting", "The worker process is starting.", device="")
        try:
            self._worker = self._spawn(partial(self._hear, self))
        except (OSError, RuntimeError) as error:  # a system short of threads says the second
            self.died(f"could not be started: {error}")

    def died(self, how: str) -> None:
        """Note that the worker is gone, and decide when to start the next."""
        self._worker = None
        self.loaded.clear()
        delay = self.health.died(how)
        if self.health.hopeless:
            self.set_status("dead", self.health.hopeless, device="")
            return
        self.restart_at = time.monotonic() + delay
        self.set_status("dead", f"The worker process {how}. It is started again.", device="")

    def say(self, message: Message) -> None:
        if self._worker is not None:
            self._worker.send(message)

    def kill(self) -> None:
        if self._worker is not None:
            self._worker.kill()

    def let_go(self) -> Worker | None:
        """The worker, told to end; nothing that it says is heard any more."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.hang_up()
            if not self.health.is_ready:
                worker.kill()  # it is deep in imports, where it hears late, and has nothing to lose
        return worker

    def set_status(self, state: WorkerState, message: str = "", *, device: str | None = None) -> None:
        status = WorkerStatus(
            state=state,
            device=self.status.device if device is None else device,
            message=message,
            job_id=self.running.job.id if self.running else None,
        )
        if status != self.status:
            self.status = status
            self._tell()


def end_all(workers: Sequence[Worker], patience: float) -> None:
    """Nothing, once all of these have ended, by force where they go on for longer than `patience` seconds."""
    deadline = time.monotonic() + patience
    for worker in workers:
        if not worker.join(max(0.0, deadline - time.monotonic())):
            worker.kill()
    for worker in workers:
        worker.join(patience)


_BEST_FIRST: Sequence[WorkerState] = ("busy", "ready", "starting", "dead")


def together(statuses: Sequence[WorkerStatus], trouble: str = "") -> WorkerStatus:
    """What to say of all workers in one; `trouble` of the queue goes before what they say."""
    if not statuses:
        return WorkerStatus(state="dead", message=trouble or "There are no workers.")
    best = min(statuses, key=lambda status: _BEST_FIRST.index(status.state))
    devices = Counter(status.device for status in statuses if status.device)
    said = next((status.message for status in (best, *statuses) if status.message), "")
    return best.model_copy(
        update={
            "device": ", ".join(f"{count} x {name}" if count > 1 else name for name, count in devices.items()),
            "message": trouble or said,
        }
    )
