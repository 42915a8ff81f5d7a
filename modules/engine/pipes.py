"""The worker's end of the two pipes to the server.

The process must end within a second of its server, also in the middle of a long torch call, and nothing
that a library prints may get between the frames.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from dataclasses import dataclass, field
from typing import BinaryIO

from modules.jobs.messages import FrameError, FullSpeed, Here, Interrupt, Message, Run, Skip, encode, read


@dataclass(slots=True)
class Control:
    """What the server asks of the job in hand, polled at every step."""

    interrupted: bool = False
    skipped: bool = False


@dataclass(slots=True)
class Pipes:
    """Messages to and from the server.

    `controls` holds what is asked of each job that was handed out, `answers` what a Need was answered.
    """

    reading: BinaryIO
    writing: BinaryIO
    full_speed: threading.Event = field(default_factory=threading.Event)
    answers: queue.SimpleQueue[Here] = field(default_factory=queue.SimpleQueue)
    _inbox: queue.SimpleQueue[Message] = field(default_factory=queue.SimpleQueue)
    _controls: dict[str, Control] = field(default_factory=dict)
    _speaking: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        """Begin to listen, in a thread of its own."""
        threading.Thread(target=self._listen, name="server-pipe", daemon=True).start()

    def send(self, message: Message) -> None:
        """Say something to the server, from any thread; ends the process when the server is gone."""
        frame = memoryview(encode(message))
        with self._speaking:
            try:
                while frame:
                    frame = frame[self.writing.write(frame) or 0 :]
            except OSError:
                os._exit(0)

    def next(self) -> Message:
        """The next message that is not about the job in hand; waits for it."""
        return self._inbox.get()

    @property
    def has_job(self) -> bool:
        """A job is in hand or waits to be."""
        return bool(self._controls)

    def control(self, job_id: str) -> Control:
        """What is asked of this job, from the moment it was handed out."""
        return self._controls.setdefault(job_id, Control())

    def forget(self, job_id: str) -> None:
        """The job is over."""
        self._controls.pop(job_id, None)

    def _listen(self) -> None:
        try:
            while (message := read(self.reading)) is not None:
                self._sort(message)
        except (OSError, FrameError) as error:
            sys.stderr.write(f"The server cannot be understood: {error}\n")
            os._exit(1)
        # Not sys.exit: the main thread may be inside a call that takes minutes.
        os._exit(0)

    def _sort(self, message: Message) -> None:
        if isinstance(message, FullSpeed | Run):
            self.full_speed.set()
        if isinstance(message, Run):
            self.control(message.job_id)
        if isinstance(message, Interrupt | Skip):
            control = self._controls.get(message.job_id)
            if control is not None and isinstance(message, Interrupt):
                control.interrupted = True
            elif control is not None:
                control.skipped = True
        elif isinstance(message, Here):
            self.answers.put(message)
        elif not isinstance(message, FullSpeed):
            self._inbox.put(message)


def claim_pipes() -> Pipes:
    """Standard input and output for messages alone; from now on prints go to the error stream and input is empty."""
    reading, writing = os.dup(0), os.dup(1)
    if sys.platform == "win32":
        import msvcrt

        for descriptor in (reading, writing):
            msvcrt.setmode(descriptor, os.O_BINARY)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    _end_with_parent()
    return Pipes(os.fdopen(reading, "rb", buffering=0), os.fdopen(writing, "wb", buffering=0))


def _end_with_parent() -> None:
    """Have Linux end this process with the thread that started it.

    The end of the input says the same, but a thread can act on it only when the interpreter is not locked,
    as it is for seconds while a large library is being loaded from a slow disk.
    """
    if sys.platform == "linux":
        import ctypes

        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, int(signal.SIGKILL), 0, 0, 0)
