"""The relay: between the server, which takes it for a worker, and the worker on another machine."""

from __future__ import annotations

import io
import logging
import os
import queue
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import singledispatchmethod
from typing import NoReturn, Protocol

from modules.catalogue import KINDS
from modules.engine.pipes import Pipes
from modules.jobs.messages import (
    Done,
    Failed,
    FrameError,
    Interrupt,
    Loading,
    Message,
    PictureSaved,
    Preload,
    Ready,
    Refresh,
    Run,
    Skip,
    Starting,
    Unusable,
    encode,
    read,
)
from modules.params import TagbrushError

from .arrivals import Arrivals
from .manifest import Changes, Manifest
from .porter import Porter
from .slots import Slot
from .versions import Versions
from .words import Ended, Made, Spoken, Wanted, Word

log = logging.getLogger(__name__)

PATIENCE = 30.0
"""Seconds for which a node with nothing to say is waited for at a time."""

SECONDS_TO_BE_PLACED = 3.0
"""Before the person is told what is being waited for."""


class Node(Protocol):
    """The worker on its node; every call raises TagbrushError when that is gone."""

    name: str

    def found(self, timeout: float) -> Versions | None: ...

    def begin(self, files: Changes) -> None: ...

    def hear(self, frame: bytes) -> None: ...

    def renew(self, files: Changes) -> None: ...

    def tell(self, patience: float) -> list[Word]: ...

    def answer(self, number: int, error: str) -> None: ...

    def end(self) -> None: ...


class Relay:
    """Passes on what server and node say; files go the one way, pictures the other."""

    def __init__(
        self,
        pipes: Pipes,
        node: Node,
        slot: Slot,
        ours: Versions,
        *,
        manifest: Manifest,
        arrivals: Arrivals,
        porter: Porter,
    ) -> None:
        """`ours` is what this machine runs."""
        self._pipes, self._node, self._slot, self._ours = pipes, node, slot, ours
        self._manifest, self._arrivals, self._porter = manifest, arrivals, porter
        self._orders: queue.SimpleQueue[Wanted] = queue.SimpleQueue()
        self._errands: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._handing = threading.Lock()
        self._coming: dict[str, list[Interrupt | Skip]] = {}
        self._ending = threading.Lock()  # never let go: of several threads that see the end, the first says how it was

    def live(self) -> NoReturn:
        """Be a worker until the server is gone, or the node's is."""
        self._do(self._live)

    def _live(self) -> NoReturn:
        self._settle_in()
        self._thread("server", self._listen_to_server)
        self._thread("errands", self._run_errands)
        self._thread("files", self._carry)
        while True:
            for word in self._node.tell(PATIENCE):
                self._pass_on(word)

    def _settle_in(self) -> None:
        """Have the worker run somewhere, or say why it cannot."""
        wait = SECONDS_TO_BE_PLACED
        while (about := self._node.found(wait)) is None:
            self._pipes.send(Starting(text=f"Waiting for the Ray cluster to have {self._slot} free"))
            wait = PATIENCE
        if differences := self._ours.differences(about):
            self._pipes.send(
                Unusable(
                    error=f"Ray's node {about.node} would make other pictures: {'; '.join(differences)}. "
                    "Start Ray there from an environment with the packages that this Tagbrush has."
                )
            )
            self._leave(2)
        self._pipes.send(Starting(text=f"Starting on {about.node}"))
        self._node.begin(self._manifest.look())

    # From the server

    def _listen_to_server(self) -> NoReturn:
        while (message := self._next()) is not None:
            if isinstance(message, Interrupt | Skip):
                self._stop(message)
                continue
            if isinstance(message, Run):
                with self._handing:
                    self._coming[message.job_id] = []
            self._errands.put(message)
        self._leave(0)

    def _next(self) -> Message | None:
        try:
            return read(self._pipes.reading)
        except (OSError, FrameError) as error:
            self._give_up(f"The server cannot be understood: {error}")

    def _stop(self, message: Interrupt | Skip) -> None:
        """Pass it on at once, or right after the job that it speaks of: a worker knows nothing of jobs to come."""
        with self._handing:
            if (after_run := self._coming.get(message.job_id)) is not None:
                after_run.append(message)
            else:
                self._pass_stop(message)

    def _pass_stop(self, message: Interrupt | Skip) -> None:
        if isinstance(message, Interrupt):
            self._arrivals.stopped(message.job_id)
        self._node.hear(encode(message))

    def _run_errands(self) -> NoReturn:
        """Pass on, in order, what may have to wait for a look through the files; a thread of its own for that."""
        while True:
            message = self._errands.get()
            if isinstance(message, Refresh):
                self._renew(self._manifest.look(message.kind if message.kind in KINDS else None))
            elif isinstance(message, Run | Preload):
                self._renew(self._manifest.glance())
            if isinstance(message, Run):
                self._hand_out(message)
            else:
                self._node.hear(encode(message))

    def _renew(self, changes: Changes) -> None:
        if changes:
            self._node.renew(changes)

    def _hand_out(self, job: Run) -> None:
        """Pass the job on, and what has been asked of it meanwhile."""
        with self._handing:
            self._node.hear(encode(self._arrivals.expect(job)))
            for message in self._coming.pop(job.job_id):
                self._pass_stop(message)

    # From the node

    @singledispatchmethod
    def _pass_on(self, word: Word) -> None:
        raise AssertionError(f"{type(word).__name__} is no word of a node's")

    @_pass_on.register
    def _(self, word: Spoken) -> None:
        message = read(io.BytesIO(word.frame))
        if isinstance(message, Done | Failed):
            gave_up = self._arrivals.gave_up(message.job_id)
            self._arrivals.over(message.job_id)
            if gave_up:
                return
        if isinstance(message, Ready):
            if self._slot.gpus and message.device == "CPU":
                self._pipes.send(
                    Unusable(
                        error=f"Ray gave a GPU on {self._node.name}, but PyTorch finds none there. Check its driver, "
                        "and that the PyTorch there was built for that GPU."
                    )
                )
                self._leave(2)
            message = Ready(device=f"{message.device} on {self._node.name}")
        if message is not None:
            self._pipes.send(message)

    @_pass_on.register
    def _(self, word: Made) -> None:
        message = read(io.BytesIO(word.frame))
        assert isinstance(message, PictureSaved)
        self._arrivals.save(message, word.data, word.suffix, is_kept=word.is_kept)

    @_pass_on.register
    def _(self, word: Wanted) -> None:
        self._orders.put(word)

    @_pass_on.register
    def _(self, word: Ended) -> None:
        code = 128 - word.code if word.code < 0 else word.code
        lines = (*word.printed, f"The worker process on {self._node.name} {word.how}.")
        self._give_up(*lines, code=code, tidies=True)

    # Files

    def _carry(self) -> NoReturn:
        """Bring the files that the engine waits for; a thread of its own, since it may take minutes."""
        while True:
            order = self._orders.get()
            self._node.answer(order.number, self._porter.bring(order.items))

    # The end

    def _leave(self, code: int) -> NoReturn:
        """End this process, and the worker with it."""
        self._ending.acquire()
        try:
            self._node.end()
        finally:
            os._exit(code)

    def _give_up(self, *lines: str, code: int = 1, tidies: bool = False) -> NoReturn:
        """End this process with some last words; `tidies` where the node is still there to clean up."""
        self._ending.acquire()
        if tidies:
            with suppress(TagbrushError):
                self._node.end()
        give_up(*lines, code=code)

    def _thread(self, name: str, work: Callable[[], NoReturn]) -> None:
        threading.Thread(target=self._do, args=(work,), name=name, daemon=True).start()

    def _do(self, work: Callable[[], NoReturn]) -> NoReturn:
        """Do what has no end; whatever ends it ends this process, in words."""
        try:
            work()
        except TagbrushError as error:
            self._give_up(str(error))
        finally:
            # What nobody foresaw: the others would wait for ever for a thread that died alone.
            error = sys.exception()
            log.error("The relay cannot go on.", exc_info=error)
            self._give_up(f"The worker's relay failed: {type(error).__name__}: {error}")


def tell_loading(pipes: Pipes) -> Callable[[str], None]:
    """What shows a person that a file is being copied; the same words twice are said once."""
    last = [""]

    def tell(text: str) -> None:
        if text != last[0]:
            last[0] = text
            pipes.send(Loading(text=text))

    return tell


def give_up(*lines: str, code: int = 1) -> NoReturn:
    """End this process at once; the server shows the last of the lines."""
    sys.stderr.write("".join(f"{line}\n" for line in lines))
    sys.stderr.flush()
    os._exit(code or 1)
