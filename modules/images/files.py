"""Picture files: numbered names, and writing that leaves either the whole file or none."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import threading
import time
from collections.abc import Collection, Iterator
from datetime import date
from pathlib import Path

from PIL import Image

from modules.params import TagbrushError

from .marks import Mark, read_mark
from .metadata import FORMATS, encode

STALE_SECONDS = 60
"""A reservation older than this belongs to a process that died: it is made for the moment of a rename."""

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)

SCANNER_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Seconds between tries to rename a file that another program holds."""

_NUMBERED = re.compile(r"(\d+)(?:-.*)?\.[^.]+")
_RESERVED = re.compile(r"\.(\d+)\.part")


class SaveFailed(TagbrushError):
    """A picture that could not be written, with the folder and the system's reason."""


class DiskFull(SaveFailed):
    """A picture that could not be written for want of space."""


def save_picture(
    image: Image.Image,
    folder: Path,
    *,
    seed: int,
    infotext: str,
    format: str = "png",
    quality: int = 80,
    day: date | None = None,
    mark: Mark | None = None,
) -> Path:
    """The path of the saved picture: `folder/2026-01-31/00042-seed.png`, without the date if `day` is None.

    The number follows the largest in that folder; two processes never take the same one. `format` is png, jpg or webp;
    a picture too large for its format is saved as png. The `mark` stays on the file until `remove_mark`. Whoever is
    killed meanwhile leaves the whole file, or one that `remove_unfinished` finds. Raises SaveFailed.
    """
    data, suffix = encode(image, infotext, format=format, quality=quality)
    return save_encoded(data, suffix, folder, seed=seed, day=day, mark=mark)


def save_encoded(
    data: bytes, suffix: str, folder: Path, *, seed: int, day: date | None = None, mark: Mark | None = None
) -> Path:
    """As `save_picture`, of the bytes of a picture's file; `suffix` is their format's: ".png". Raises SaveFailed."""
    target = folder / day.isoformat() if day else folder
    owner = _owner(mark.job_id, mark.index) if mark else f"{os.getpid()}-{threading.get_ident()}"
    temporary = target / f".{owner}.tmp"
    try:
        target.mkdir(parents=True, exist_ok=True)
        try:
            _write(temporary, data + bytes(mark) if mark else data)
            with _reserved_number(target, owner) as number:
                path = target / f"{number:05}-{seed}{suffix}"
                _rename(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        _settle(target)
    except OSError as error:
        reason, kind = error.strerror or str(error), DiskFull if error.errno in _NO_SPACE else SaveFailed
        raise kind(
            f"The picture could not be saved in {target}: {reason}. Free some space or check its rights."
        ) from error
    return path


def marked_pictures(folder: Path, job_id: str, since: float) -> Iterator[tuple[Path, Mark]]:
    """The pictures in the folder, written at `since` or later, whose mark names the job. Raises OSError.

    A file that cannot be read is passed over.
    """
    with os.scandir(folder) as entries:
        recent = [
            Path(entry.path)
            for entry in entries
            if _NUMBERED.fullmatch(entry.name)
            and Path(entry.name).suffix in FORMATS.values()
            and _written(entry) >= since
        ]
    for path in sorted(recent):
        with contextlib.suppress(OSError):
            mark = read_mark(path)
            if mark is not None and mark.job_id == job_id:
                yield path, mark


def _written(entry: os.DirEntry[str]) -> float:
    """When the file was last written; 0 where that cannot be told, as of one that is gone."""
    try:
        return entry.stat().st_mtime
    except OSError:
        return 0.0


def remove_unfinished(folder: Path, job_id: str, numbers: Collection[int] | None = None) -> None:
    """Nothing, once no half-written file of the job's pictures of these numbers (None: of all) is in the folder.

    Nobody may work on those pictures. Raises OSError. A file that another program holds open stays.
    """
    with os.scandir(folder) as entries:
        hidden = [Path(entry.path) for entry in entries if entry.name.startswith(".")]
    for path in hidden:
        with contextlib.suppress(OSError):
            number = _number_of(job_id, _owner_of(path))
            if number is not None and (numbers is None or number in numbers):
                path.unlink()


def _owner_of(path: Path) -> str:
    """Whose half-written file or reservation this is; empty where another program finished it just now."""
    if path.suffix == ".tmp":
        return path.stem.removeprefix(".")
    try:
        return path.read_text("utf-8", "replace") if _RESERVED.fullmatch(path.name) else ""
    except FileNotFoundError:
        return ""


def _number_of(job_id: str, owner: str) -> int | None:
    """The number of the job's picture that has this owner; None where it is of another job."""
    before, _, number = owner.rpartition("-")
    return int(number) if before == job_id and number.isdecimal() else None


def _owner(job_id: str, index: object) -> str:
    return f"{job_id}-{index}"


@contextlib.contextmanager
def _reserved_number(folder: Path, owner: str) -> Iterator[int]:
    """A number larger than any in the folder, and a file with its owner's name that keeps others from taking it.

    Only the maker of `.00042.part` may write number 42. Numbers are read again after the reservation is made, since
    another process may have finished that number between our reading and our reserving.
    """
    while True:
        number = _largest_number(folder, reserved=True) + 1
        reservation = folder / f".{number:05}.part"
        try:
            file = os.open(reservation, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            continue
        try:
            with open(file, "wb") as opened:
                opened.write(owner.encode())
            if _largest_number(folder, reserved=False) >= number:
                continue
            yield number
            return
        finally:
            reservation.unlink(missing_ok=True)


def _largest_number(folder: Path, *, reserved: bool) -> int:
    """The largest number of a picture (or, if asked, of a reservation) in the folder; -1 if there is none."""
    largest = -1
    with os.scandir(folder) as entries:
        for entry in entries:
            match = _NUMBERED.fullmatch(entry.name)
            if not match and reserved and (match := _RESERVED.fullmatch(entry.name)) and _is_stale(entry):
                Path(entry.path).unlink(missing_ok=True)
                match = None
            if match:
                largest = max(largest, int(match[1]))
    return largest


def _is_stale(entry: os.DirEntry[str]) -> bool:
    try:
        return time.time() - entry.stat().st_mtime > STALE_SECONDS
    except OSError:
        return False


def _write(path: Path, data: bytes) -> None:
    """Write the file and wait until the disk has it."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _rename(source: Path, target: Path) -> None:
    """Let the file take the name, and the place, of another.

    Windows refuses for the moment in which a virus scanner or an indexer looks into a file that was just written.
    """
    for pause in SCANNER_PAUSES:
        try:
            os.replace(source, target)
        except PermissionError as error:
            if getattr(error, "winerror", None) is None:
                raise
            time.sleep(pause)
        else:
            return
    os.replace(source, target)


def _settle(folder: Path) -> None:
    """Wait until the disk has the folder's new entry, where the system lets a folder be opened (not Windows)."""
    if os.name != "posix":
        return
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
