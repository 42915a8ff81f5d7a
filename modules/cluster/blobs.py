"""A node's cache: contents of files by their SHA-256, each copied there once and shared by the node's workers."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from modules.params import TagbrushError

RESERVE = 1 << 28
"""Bytes of the disk that copies leave free."""


class NotCopied(TagbrushError):
    """Contents that did not arrive, and why."""


class Blobs:
    """The files `folder/<sha256>`; several processes of the node may use the folder at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def find(self, digest: str) -> Path | None:
        """The contents, if they are here; they count as just used."""
        path = self.folder / digest
        try:
            os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
        except OSError:
            return None
        return path

    def make_room(self, size: int) -> None:
        """Have so many bytes free on the disk, by removing what was used longest ago. Raises NotCopied.

        What a worker's tree still links to stays: removing it would free nothing.
        """
        for _, path in sorted(self._removable()):
            if shutil.disk_usage(self.folder).free >= size + RESERVE:
                return
            path.unlink(missing_ok=True)
        free = shutil.disk_usage(self.folder).free
        if free < size + RESERVE:
            raise NotCopied(
                f"{self.folder} has {free / 1e9:.1f} GB free, and a file of {size / 1e9:.1f} GB is to be copied there. "
                "Free some space on that node, or set TAGBRUSH_NODE_CACHE to a folder on a larger disk."
            )

    def _removable(self) -> Iterator[tuple[int, Path]]:
        """What no tree links to, with the time of its last use in nanoseconds."""
        for path in self.folder.iterdir():
            if len(path.name) != hashlib.sha256().digest_size * 2:
                continue
            with suppress(FileNotFoundError):  # another worker of the node is making room, too
                status = path.stat()
                if status.st_nlink == 1:
                    yield status.st_atime_ns, path


class Arrival:
    """Contents on their way into the cache. Nobody else on the node copies them meanwhile."""

    def __init__(self, blobs: Blobs, digest: str, size: int) -> None:
        """Waits while another worker of the node copies the same; `path` is set where it has. Raises NotCopied."""
        self.digest = digest
        self._blobs = blobs
        self._lock = _locked(blobs.folder / f"{digest}.lock")
        self.path = blobs.find(digest)
        self._part = blobs.folder / f"{digest}.part"
        self._hash = hashlib.sha256()
        self._file: BinaryIO | None = None
        if self.path is not None:
            self.close()
            return
        try:
            self._part.unlink(missing_ok=True)
            blobs.make_room(size)
            self._file = self._part.open("wb")
        except OSError as error:
            self.close()
            raise _not_copied(blobs.folder, error) from error
        except NotCopied:
            self.close()
            raise

    def add(self, data: bytes) -> None:
        """Take the next bytes. Raises NotCopied."""
        assert self._file is not None
        try:
            self._file.write(data)
        except OSError as error:
            self.close()
            raise _not_copied(self._blobs.folder, error) from error
        self._hash.update(data)

    def finish(self) -> Path:
        """The contents in their place, whole and checked, or NotCopied."""
        assert self._file is not None
        try:
            if self._hash.hexdigest() != self.digest:
                raise NotCopied("The file changed while it was copied.")
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self._part, self._blobs.folder / self.digest)
        except OSError as error:
            raise _not_copied(self._blobs.folder, error) from error
        finally:
            self.close()
        self.path = self._blobs.folder / self.digest
        return self.path

    def close(self) -> None:
        """Leave nothing half-done behind, and let others in; once that is done, what is there is theirs."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):  # of a full disk, to which closing would write the rest
                file.close()
            self._part.unlink(missing_ok=True)
        self._lock.close()


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock."""
    try:
        _locked(path, wait=False).close()
    except BlockingIOError:
        return True
    return False


def hold(path: Path) -> BinaryIO:
    """A lock that other processes of this machine wait for, until it is closed or this process ends, however."""
    return _locked(path)


def _locked(path: Path, *, wait: bool = True) -> BinaryIO:
    import fcntl  # only nodes come here, and this module is read where there is no fcntl, too

    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        file.close()
        raise
    return file


def _not_copied(folder: Path, error: OSError) -> NotCopied:
    return NotCopied(
        f"Nothing can be copied to {folder}: {error.strerror or error}. Check the folder's disk and rights."
    )
