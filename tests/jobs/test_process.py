"""Whatever goes wrong with what a worker says, its Exit follows; a process that nobody can hear is ended."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading

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


@pytest.mark.parametrize("started", range(3))
def test_a_process_that_cannot_be_heard_for_want_of_threads_is_ended(
    monkeypatch: pytest.MonkeyPatch, started: int
) -> None:
    processes: list[subprocess.Popen[bytes]] = []

    class Watched(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *args: object, **options: object) -> None:
            super().__init__(*args, **options)  # type: ignore[call-overload]
            processes.append(self)

    start, left = threading.Thread.start, iter(range(started))

    def start_some(thread: threading.Thread) -> None:
        if next(left, None) is None:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(subprocess, "Popen", Watched)
    monkeypatch.setattr(threading.Thread, "start", start_some)
    with pytest.raises(OSError, match="can't start new thread"):
        WorkerProcess([sys.executable, "-c", "import time; time.sleep(600)"], lambda worker, what: None)
    (process,) = processes
    assert process.returncode is not None
    assert process.stdin is not None and process.stdin.closed
