"""The mark that a new picture's file carries at its end until the queue has a record of it.

It says which picture of which job the file is, so that a file whose maker or whose server was killed in between is
known again. Readers pass over what follows the end of a PNG, JPEG or WebP; for AVIF's sake it is a whole `free` box
(ISO/IEC 14496-12, 8.1.2). Taken off, it leaves the very bytes of the same picture of any other job.

    size of the box (4 bytes) | "free" | JSON | size of the box (4 bytes) | "TAGBRUSH"
"""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import BinaryIO, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

_HEAD, _TAIL = struct.Struct(">I4s"), struct.Struct(">I8s")
_BOX, _MAGIC = b"free", b"TAGBRUSH"
_LARGEST = 1 << 24
"""Bytes; a mark is some hundred and the picture's text."""


class Mark(BaseModel):
    """Which picture of which job a file is, and what the record of it is to say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    job_id: str
    index: int
    seed: int
    subseed: int = -1
    infotext: str
    width: int
    height: int
    kind: Literal["picture", "mask", "composite"] = "picture"

    def __bytes__(self) -> bytes:
        """What is put behind the picture's own bytes."""
        text = json.dumps(self.model_dump()).encode()
        size = _HEAD.size + len(text) + _TAIL.size
        return _HEAD.pack(size, _BOX) + text + _TAIL.pack(size, _MAGIC)


def read_mark(path: Path) -> Mark | None:
    """The mark of a picture's file, if it has one. Raises OSError."""
    with path.open("rb") as file:
        size = _size(file)
        if not size:
            return None
        file.seek(-size, os.SEEK_END)
        text = file.read(size)[_HEAD.size : -_TAIL.size]
    try:
        return Mark.model_validate_json(text)
    except ValidationError:
        return None


def remove_mark(path: Path) -> None:
    """Nothing, once the file is the picture alone. Raises OSError."""
    with path.open("r+b") as file:
        if size := _size(file):
            file.truncate(file.seek(-size, os.SEEK_END))


def _size(file: BinaryIO) -> int:
    """The bytes that the mark takes at the end of the file, 0 where there is none."""
    whole = file.seek(0, os.SEEK_END)
    if whole < _HEAD.size + _TAIL.size:
        return 0
    file.seek(-_TAIL.size, os.SEEK_END)
    size, magic = _TAIL.unpack(file.read(_TAIL.size))
    if magic != _MAGIC or not _HEAD.size + _TAIL.size < size <= min(whole, _LARGEST):
        return 0
    file.seek(-size, os.SEEK_END)
    return size if file.read(_HEAD.size) == _HEAD.pack(size, _BOX) else 0
