"""What a worker is to the queue, wherever it runs: a process behind pipes, or an actor on another machine."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from .messages import Message

_WINDOWS_CODES = {
    0xC0000005: "access violation",
    0xC0000017: "out of memory",
    0xC00000FD: "stack overflow",
    0xC000013A: "stopped by Ctrl+C",
    0xC0000374: "heap corruption",
    0xC0000409: "stack buffer overrun",
}


@dataclass(frozen=True, slots=True)
class Exit:
    """How a worker ended: its exit code (negative: the signal that killed it) and the last lines it printed.

    `how` says it where there is no telling code, in words that follow "the worker process".
    """

    code: int
    printed: tuple[str, ...] = ()
    how: str = ""

    def __str__(self) -> str:
        """For a person, to follow "the worker process"."""
        if self.how:
            return self.how
        if self.code < 0:
            return f"was killed by signal {-self.code} ({_signal_name(-self.code)})"
        known = _WINDOWS_CODES.get(self.code)
        if known:
            return f"crashed with code 0x{self.code:08X} ({known})"
        return f"ended with exit code {self.code}"

    @property
    def looks_like_out_of_memory(self) -> bool:
        return self.code in (-9, 137, 0xC0000017)


class Worker(Protocol):
    """One running worker; every call but `join` returns at once and may come from any thread."""

    @property
    def pid(self) -> int | None:
        """Its process on this machine; None where it is another machine's."""

    def send(self, message: Message) -> None:
        """Pass `message` on as soon as the worker takes it; dropped if the worker is gone."""

    def hang_up(self) -> None:
        """Tell the worker to end once it has done what it is at."""

    def kill(self) -> None:
        """End it by force."""

    def join(self, timeout: float) -> bool:
        """Wait until it has ended and its Exit is passed on; False if it goes on after `timeout` seconds."""


Receive = Callable[[Worker, Message | Exit], None]
"""Called from a worker's threads with each of its messages and, last of all, its Exit."""

Spawn = Callable[[Receive], Worker]
"""Starts a worker that tells `Receive` everything. Raises OSError when that cannot be done."""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
