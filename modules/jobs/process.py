"""One worker process behind three pipes: messages in, messages out, and what it prints.

Reading, writing and waiting happen in threads of their own, so that a worker that reads slowly or not at
all never holds up whoever talks to it.
"""

from __future__ import annotations

import logging
import os
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from .messages import FrameError, Message, encode, read
from .worker import Exit, Receive

log = logging.getLogger("tagbrush.worker")

_SECONDS_TO_DIE = 5.0
_REMEMBERED_LINES = 40
_NO_WINDOW = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # of Windows, where a server without a console would open one


class WorkerProcess:
    """A running worker; `receive` is called from its threads with each message and, last of all, its Exit."""

    def __init__(
        self, command: Sequence[str], receive: Receive, *, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        """Start it. Raises OSError when that cannot be done."""
        self._receive = receive
        self._printed: deque[str] = deque(maxlen=_REMEMBERED_LINES)
        self._outbox: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env=None if env is None else dict(env),
            creationflags=_NO_WINDOW,
            # Ctrl+C in the terminal is for the server; it decides what becomes of the job.
            process_group=0 if os.name == "posix" else None,
        )
        try:
            self._printing = self._thread("prints", self._read_prints)
            self._thread("writer", self._write)
            self._reader = self._thread("reader", self._read)
        except RuntimeError as error:
            self._abandon()
            raise OSError(f"there is no thread to hear it ({error})") from error

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, message: Message) -> None:
        """Pass `message` on as soon as the worker takes it; dropped if the worker is gone."""
        self._outbox.put(message)

    def hang_up(self) -> None:
        """Close the worker's input, which tells it to end."""
        self._outbox.put(None)

    def kill(self) -> None:
        self._process.kill()

    def join(self, timeout: float) -> bool:
        """Wait for the end of the process and of its messages; False if it goes on after `timeout` seconds."""
        self._reader.join(timeout)
        return not self._reader.is_alive()

    def _thread(self, name: str, target: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=target, name=f"worker-{name}", daemon=True)
        thread.start()
        return thread

    def _abandon(self) -> None:
        """End a process that nobody will hear."""
        self._process.kill()
        self._outbox.put(None)
        with self._process:  # closes its pipes and waits for its end
            pass

    def _read(self) -> None:
        why_ended = ""
        try:
            why_ended = self._hear()
        finally:
            # Whatever breaks, everyone waits for the Exit, without which the job in hand would never end.
            if error := sys.exception():
                why_ended = f"was ended, since what it said could not be taken in ({type(error).__name__}: {error})"
            self._bury(why_ended)

    def _hear(self) -> str:
        """Why the worker has to be ended, to follow "the worker process"; nothing where it ends by itself."""
        try:
            while (message := read(_stream(self._process.stdout))) is not None:
                self._receive(self, message)
        except FrameError as error:
            log.error("The worker said something that is not a message: %s", error)
            return "was ended, since it said something that is not a message"
        return ""

    def _bury(self, why_ended: str) -> None:
        """Tell of the end once it has come, by force where there is a reason for that."""
        if why_ended:
            self._process.kill()
        try:
            code = self._process.wait(_SECONDS_TO_DIE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._outbox.put(None)
        self._printing.join(1.0)  # a grandchild may hold its end of this pipe open for ever
        _stream(self._process.stdout).close()
        self._receive(self, Exit(1 if why_ended else code, tuple(self._printed), why_ended))

    def _write(self) -> None:
        pipe = _stream(self._process.stdin)
        with suppress(OSError):  # the worker is gone; its Exit says how
            while (message := self._outbox.get()) is not None:
                pipe.write(encode(message))
                pipe.flush()
        with suppress(OSError):
            pipe.close()

    def _read_prints(self) -> None:
        pipe = _stream(self._process.stderr)
        with pipe:
            for line in pipe:
                text = line.decode(errors="replace").rstrip()
                if text:
                    self._printed.append(text)
                    log.info("%s", text)


def _stream(pipe: object) -> BinaryIO:
    assert pipe is not None
    return pipe  # type: ignore[return-value]
