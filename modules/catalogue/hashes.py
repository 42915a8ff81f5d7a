"""Hashes of files, computed one after another in a background thread."""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Literal

from modules.params import BadFile, TagbrushError

Algorithm = Literal["sha256", "addnet"]

BLOCK = 1 << 20


class Closed(TagbrushError):
    """A hash was asked for, or still under way, when the catalogue was closed."""


class Hasher:
    """A thread, started at the first hash asked for, that never keeps the program from ending."""

    def __init__(self) -> None:
        self._tasks: queue.SimpleQueue[tuple[Path, Algorithm, Future[str]] | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def hash(self, path: Path, algorithm: Algorithm) -> Future[str]:
        """The hash to come: 64 hexadecimal digits, or BadFile if the file cannot be read."""
        future: Future[str] = Future()
        with self._lock:
            if self._closing.is_set():
                future.set_exception(Closed("The catalogue is closed."))
                return future
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="catalogue hashes", daemon=True)
                self._thread.start()
        self._tasks.put((path, algorithm, future))
        return future

    def close(self) -> None:
        """Give up what is under way and what waits."""
        with self._lock:
            self._closing.set()
            thread = self._thread
        if thread is not None:
            self._tasks.put(None)
            thread.join()

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            path, algorithm, future = task
            if not future.set_running_or_notify_cancel():
                continue
            try:
                digest = digest_of(path, algorithm, stop=self._closing.is_set)
            except (OSError, TagbrushError) as error:
                reason = error if isinstance(error, TagbrushError) else BadFile(path, f"cannot be read: {error}.")
                future.set_exception(reason)
            else:
                future.set_result(digest)


def digest_of(path: Path, algorithm: Algorithm = "sha256", stop: Callable[[], bool] = lambda: False) -> str:
    """The hash of a file; "addnet" leaves out a .safetensors header, so that new metadata does not change it (D046).

    A folder in diffusers' layout is hashed as the hashes of its weights in order. Raises OSError, and Closed once
    `stop()` is true.
    """
    digest = hashlib.sha256()
    for file in _weights(path) if path.is_dir() else (path,):
        with file.open("rb") as stream:
            if algorithm == "addnet" and file.suffix.lower() == ".safetensors":
                stream.seek(8 + int.from_bytes(stream.read(8), "little"))
            while block := stream.read(BLOCK):
                if stop():
                    raise Closed("The catalogue is closed.")
                digest.update(block)
    return digest.hexdigest()


def legacy_hash(path: Path) -> str | None:
    """The eight digits by which early versions named a checkpoint; None if it is too short (D011)."""
    try:
        with path.open("rb") as file:
            file.seek(0x100000)
            data = file.read(0x10000)
    except OSError:
        return None
    return hashlib.sha256(data).hexdigest()[:8] if data else None


def _weights(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob("*/*")) if path.suffix in (".safetensors", ".bin")]
