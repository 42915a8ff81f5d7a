"""Pictures given to the page, which gradio keeps and never removes: they go after a day, or for want of room."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from modules.catalogue import Folders

LARGEST = 2 * 2**30
"""Bytes that they may have together."""


def uploads_folder(folders: Folders) -> Path:
    """Where the page's pictures are kept, unless GRADIO_TEMP_DIR names another folder."""
    return folders.outputs / "unsaved" / "page"


@dataclass(frozen=True)
class _Upload:
    """One folder of gradio's: it is named by its content, and holds one file."""

    folder: Path
    written: float
    size: int


def remove_uploads(root: Path, before: float, *, most: int = LARGEST) -> None:
    """Remove what was given to the page before a time, and the oldest of the rest until it is at most `most` bytes.

    Only folders that gradio names by a hash are touched: the person may have chosen a folder with other things in it.
    """
    room = most
    for upload in sorted(_uploads(root), key=lambda upload: upload.written, reverse=True):
        room -= upload.size
        if room < 0 or upload.written < before:
            shutil.rmtree(upload.folder, ignore_errors=True)


def _uploads(root: Path) -> Iterator[_Upload]:
    with suppress(OSError):  # there is no such folder yet
        for folder in root.iterdir():
            name = folder.name
            if len(name) == 64 and set(name) <= set("0123456789abcdef") and not folder.is_symlink():
                with suppress(OSError):
                    statuses = [path.lstat() for path in (folder, *folder.iterdir())]
                    yield _Upload(
                        folder,
                        max(status.st_mtime for status in statuses),
                        sum(status.st_size for status in statuses[1:]),
                    )
