"""Importing PyTorch without slowing the page down.

The imports take seconds of a core that the server needs for its first page, so they run at the lowest
priority until the page has loaded. Linux knows a priority per thread, which can be lowered but not raised
again: the imports run in a thread of their own that ends with them. Windows and macOS know one per
process, which can be put back.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

_LOWEST = 19
_LONGEST_SECONDS = 20.0

_IDLE_PRIORITY_CLASS, _NORMAL_PRIORITY_CLASS = 0x40, 0x20
_PRIO_DARWIN_PROCESS, _PRIO_DARWIN_BG = 4, 0x1000


def import_quietly(names: Sequence[str], full_speed: threading.Event) -> None:
    """Import the modules in order, giving way to every other process until `full_speed` is set."""
    if sys.platform == "linux":
        with ThreadPoolExecutor(1, "import", initializer=_lower_thread) as quiet:
            for name in names:
                if full_speed.is_set():
                    importlib.import_module(name)
                else:
                    quiet.submit(importlib.import_module, name).result()
        return
    with _background(full_speed):
        for name in names:
            importlib.import_module(name)


def _lower_thread() -> None:
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST)


@contextmanager
def _background(full_speed: threading.Event) -> Iterator[None]:
    """The whole process in the background until `full_speed`, the end of the block, or at most 20 seconds."""
    lower, restore = _process_priority(sys.platform)
    over = threading.Event()

    def restore_in_time() -> None:
        full_speed.wait(_LONGEST_SECONDS)
        if not over.is_set():
            restore()

    lower()
    threading.Thread(target=restore_in_time, name="priority", daemon=True).start()
    try:
        yield
    finally:
        over.set()
        restore()


def _process_priority(platform: str) -> tuple[Callable[[], None], Callable[[], None]]:
    """How to lower this process's priority, and how to put it back."""
    if platform == "win32":
        return lambda: _set_windows_class(_IDLE_PRIORITY_CLASS), lambda: _set_windows_class(_NORMAL_PRIORITY_CLASS)
    if platform == "darwin":
        return lambda: _set_darwin(_PRIO_DARWIN_BG), lambda: _set_darwin(0)
    return lambda: None, lambda: None


def _set_windows_class(priority: int) -> None:
    import ctypes

    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined]
    kernel.SetPriorityClass(kernel.GetCurrentProcess(), priority)


def _set_darwin(priority: int) -> None:
    with suppress(OSError):
        os.setpriority(_PRIO_DARWIN_PROCESS, 0, priority)
