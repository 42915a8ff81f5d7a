"""The files of finished pictures, given out only where they still are pictures."""

from __future__ import annotations

from pathlib import Path

from .errors import NotFound

_STARTS = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"))


def media_type(path: Path) -> str:
    """What kind of picture a finished picture's file is, by its first bytes.

    Raises NotFound where it is gone, and where something else has taken its place: a link may lead anywhere.
    """
    try:
        if path.is_symlink() or not path.is_file():
            raise NotFound(f"The file of this picture is gone: {path.name} was moved or removed.")
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise NotFound(f"The file of this picture, {path.name}, cannot be read: {error.strerror}.") from error
    for begins, kind in _STARTS:
        if start.startswith(begins):
            return kind
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "image/webp"
    if start[4:12] in (b"ftypavif", b"ftypavis"):
        return "image/avif"
    raise NotFound(f"The file of this picture is gone: {path.name} is no picture any more.")
