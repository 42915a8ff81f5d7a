"""The fake worker as a thread of the test: started in no time, for tests in which no process has to die."""

from __future__ import annotations

import io
import itertools
import threading
from collections.abc import Callable
from pathlib import Path

from modules.engine.pipes import Pipes
from modules.jobs import Exit, Receive
from modules.jobs.messages import Input, Message, Ready, Run

from .fake_worker import run

_numbers = itertools.count(1_000_000)
"""In place of process ids, of which the system gives out none so large."""


class _Gone(BaseException):
    """The worker was told to end, or killed."""


class _Here(Pipes):
    """Pipes that lead to a function; what is said after the end is the end of the thread."""

    def __init__(self, tell: Callable[[Message], None]) -> None:
        super().__init__(io.BytesIO(), io.BytesIO())
        self.tell = tell
        self.is_closed = threading.Event()

    def send(self, message: Message) -> None:
        if self.is_closed.is_set():
            raise _Gone
        self.tell(message)


class ThreadWorker:
    """A `Worker` in this process."""

    def __init__(self, folder: Path, receive: Receive) -> None:
        self.pid = next(_numbers)
        self._folder, self._receive = folder, receive
        self._pipes = _Here(lambda message: receive(self, message))
        self._code = 0
        self._ended = threading.Event()
        threading.Thread(target=self._live, name=f"fake-worker-{self.pid}", daemon=True).start()

    def send(self, message: Message) -> None:
        self._pipes._sort(message)

    def hang_up(self) -> None:
        self._pipes.is_closed.set()
        self._pipes._sort(Ready(device="no more"))

    def kill(self) -> None:
        """As far as anyone can tell it is gone at once; a thread that sleeps on is heard no more."""
        self._code = -9
        self.hang_up()
        self._end()

    def join(self, timeout: float) -> bool:
        return self._ended.wait(timeout)

    def _end(self) -> None:
        if not self._ended.is_set():
            self._ended.set()
            self._receive(self, Exit(self._code))

    def _live(self) -> None:
        with (self._folder / "starts").open("a") as starts:
            starts.write(f"{self.pid}\n")
        inputs: dict[str, bytes] = {}
        try:
            self._pipes.send(Ready(device="fake"))
            while not self._pipes.is_closed.is_set():
                message = self._pipes.next()
                if isinstance(message, Input):
                    inputs[message.id] = message.data
                if isinstance(message, Run):
                    run(self._pipes, message, inputs, self._folder, self.pid)
        except _Gone:
            pass
        self._end()
