"""Whatever goes wrong with what a worker says, its Exit follows."""

from __future__ import annotations

import queue
import sys

import pytest

from modules.jobs import Exit, WorkerProcess
from modules.jobs.messages import Message, Ready, encode

SAYS_AND_WAITS = "import os, sys; os.write(1, bytes.fromhex(sys.argv[1])); sys.stdin.read()"


def exit_of(said: bytes, error: Exception | None = None) -> Exit:
    """How a worker ends that says this, and then waits; `error` is raised to what can be read of it."""
    ends: queue.SimpleQueue[Exit] = queue.SimpleQueue()

    def receive(worker: object, what: Message | Exit) -> None:
        if isinstance(what, Exit):
            ends.put(what)
        elif error is not None:
            raise error

    worker = WorkerProcess([sys.executable, "-I", "-c", SAYS_AND_WAITS, said.hex()], receive)
    try:
        return ends.get(timeout=30)
    finally:
        worker.kill()
        assert worker.join(30)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_whose_words_cannot_be_taken_in_is_ended() -> None:
    end = exit_of(encode(Ready(device="CPU")), OSError(5, "Input/output error"))
    assert str(end) == "was ended, since what it said could not be taken in (OSError: [Errno 5] Input/output error)"
    assert not end.looks_like_out_of_memory


def test_a_worker_that_speaks_another_language_is_ended(caplog: pytest.LogCaptureFixture) -> None:
    end = exit_of(b"Traceback (most recent call last):")
    assert str(end) == "was ended, since it said something that is not a message"
    assert not end.looks_like_out_of_memory
    assert "not a message" in caplog.text
