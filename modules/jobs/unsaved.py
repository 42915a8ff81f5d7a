"""Pictures of jobs that asked not to be saved: they stay for a while, in which they can be fetched, and then go."""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

LARGEST = 10 * 2**30
"""Bytes that they may have together."""

SURE = 3600.0
"""Seconds for which each can be fetched, however many there are."""


@dataclass(frozen=True)
class _Folder:
    """The pictures of one job."""

    path: Path
    written: float
    size: int


def remove_unsaved(outputs: Path, before: float, needed: Collection[str] = (), *, most: int = LARGEST) -> None:
    """Remove the pictures of jobs that asked not to be saved, when their folder was last written `before`.

    Of the rest go the oldest until they are at most `most` bytes, though none of the last hour. The folders of the jobs
    `needed` stay: they have pictures that nobody could fetch yet.
    """
    sure, room = time.time() - SURE, most
    for folder in sorted(_folders(outputs / "unsaved"), key=lambda folder: folder.written, reverse=True):
        room -= folder.size
        is_over = folder.written < before or (room < 0 and folder.written < sure)
        if is_over and folder.path.name not in needed:
            shutil.rmtree(folder.path, ignore_errors=True)


def _folders(unsaved: Path) -> Iterator[_Folder]:
    with suppress(OSError):  # there is none yet, or it cannot be read now: that is tried again an hour later
        for path in unsaved.iterdir():
            with suppress(OSError):
                if path.is_dir():
                    yield _Folder(path, path.stat().st_mtime, sum(file.lstat().st_size for file in path.iterdir()))
