"""How the workers stand is told one by one and in one."""

from __future__ import annotations

import math

import pytest

from modules.jobs import Patience, Receive, Worker, WorkerStatus
from modules.jobs.slot import Slot, together

BUSY = WorkerStatus(state="busy", device="CPU", job_id="a")
READY = WorkerStatus(state="ready", device="CPU")
STARTING = WorkerStatus(state="starting", message="Loading PyTorch")
DEAD = WorkerStatus(state="dead", message="It was killed.")


@pytest.mark.parametrize(
    ("statuses", "state", "device", "message"),
    [
        ([READY], "ready", "CPU", ""),
        ([READY, BUSY], "busy", "2 x CPU", ""),
        ([STARTING, READY], "ready", "CPU", "Loading PyTorch"),
        ([DEAD, STARTING], "starting", "", "Loading PyTorch"),
        ([DEAD, DEAD], "dead", "", "It was killed."),
        ([DEAD, READY], "ready", "CPU", "It was killed."),
        ([READY, WorkerStatus(state="ready", device="H100 (cuda:0)")], "ready", "CPU, H100 (cuda:0)", ""),
        ([], "dead", "", "There are no workers."),
    ],
)
def test_all_workers_in_one_are_what_the_best_of_them_is(
    statuses: list[WorkerStatus], state: str, device: str, message: str
) -> None:
    told = together(statuses)
    assert (told.state, told.device, told.message) == (state, device, message)


def test_trouble_of_the_queue_goes_before_what_workers_say() -> None:
    assert together([STARTING, BUSY], "The disk is full.").message == "The disk is full."
    assert together([STARTING, BUSY]).job_id == "a"


@pytest.mark.parametrize("error", [OSError("no such program"), RuntimeError("can't start new thread")])
def test_a_worker_that_cannot_be_started_is_tried_again(error: Exception) -> None:
    def spawn(receive: Receive) -> Worker:
        raise error

    slot = Slot(0, spawn, lambda slot, worker, what: None, lambda: None, Patience())
    slot.start()
    assert slot.status.state == "dead"
    assert str(error) in slot.status.message
    assert slot.restart_at < math.inf
