"""Places at which a worker, or the server behind it, is killed for once while a picture is saved."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from modules.catalogue import Folders
from modules.images import files

WORKER_POINTS = ("half-written", "synced", "reserved", "renamed", "saved", "told")
"""Within the temporary file, after its sync, with a number for its name, after the rename, before the server is told,
and after."""

SERVER_POINTS = ("told", "recorded", "cleared")
"""When the server has heard of the picture, when it is in the store, and when the mark is off its file."""


def folders_of(folder: Path) -> Folders:
    """The folders of a data folder with nothing in it."""
    return Folders.from_args(shipped=folder)


def pictures_in(prompt: str) -> int:
    """The number of pictures that a fake worker makes of the prompt."""
    return max(1, sum(word == "picture" or word.startswith("save") for word in prompt.split()))


def die(server: int | None = None) -> NoReturn:
    """End this process by SIGKILL, and before it the server's if its id is given."""
    for process in (server, os.getpid()):
        if process is not None:
            os.kill(process, signal.SIGKILL)
    raise AssertionError("unreachable")


def die_once(trace: Path, server: int | None) -> Callable[[], None]:
    """What ends the process, unless it did so before: then `trace` exists."""

    def end() -> None:
        if not trace.exists():
            trace.touch()
            die(server)

    return end


@contextmanager
def dying_at(point: str, end: Callable[[], None]) -> Iterator[None]:
    """Within it, saving a picture calls `end` at that point; at none, nothing is changed."""
    if not point:
        yield
        return
    write, rename = files._write, files._rename

    def write_half(path: Path, data: bytes) -> None:
        if point == "half-written":
            path.write_bytes(data[: len(data) // 2])
            end()
        write(path, data)
        if point == "synced":
            end()

    def rename_and_end(source: Path, target: Path) -> None:
        if point == "reserved":
            end()
        rename(source, target)
        if point == "renamed":
            end()

    files._write, files._rename = write_half, rename_and_end
    try:
        yield
    finally:
        files._write, files._rename = write, rename
