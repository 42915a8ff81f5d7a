"""Hashes of files, computed one after another in a background thread."""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Literal, get_args

from modules.params import BadFile, TagbrushError

from .entries import Entry, Kind
from .index import Index
from .scan import Stamp, stamp, stamp_of

Algorithm = Literal["sha256", "addnet"]
ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)

BLOCK = 1 << 20
LORA_DIGITS = 12
LEAST_DIGITS = 8
"""Digits of a hash that tell one file from all others."""


class Closed(TagbrushError):
    """A hash was asked for, or still under way, when the catalogue was closed."""


class NotHashed(TagbrushError):
    """A hash was asked for that is not known, where none is to be computed."""


class Hashes:
    """The hashes of files: from the index, or computed one at a time in a thread and put there.

    `on_known` is called from that thread with the kind of a file whose SHA-256 has just become known.
    """

    def __init__(self, index: Index, on_known: Callable[[Kind], None], *, computes: bool = True) -> None:
        self._index, self._on_known, self._computes = index, on_known, computes
        self._thread = _HashThread()
        self._lock = threading.Lock()
        self._pending: dict[tuple[Stamp, Algorithm], Future[str]] = {}

    def close(self) -> None:
        """Give up what is under way; whoever waits for it gets Closed."""
        self._thread.close()

    def hash(self, entry: Entry, algorithm: Algorithm) -> Future[str]:
        """The 64 digits of a file's hash to come; BadFile if the file cannot be read, NotHashed if it may not be."""
        known = self._index.hash_of(stamp_of(entry), algorithm)
        if known is not None:
            return _future(known)
        if not self._computes:
            never = _future()
            never.set_exception(NotHashed(f"{entry.relative} is not hashed: Tagbrush was started with --no-hashing."))
            return never
        with self._lock:
            pending = self._pending.get((stamp_of(entry), algorithm))
            if pending is not None:
                return pending
            pending = self._pending[stamp_of(entry), algorithm] = _future()
        computed = self._thread.hash(entry.path, algorithm)
        computed.add_done_callback(lambda done: self._computed(entry, algorithm, done))
        return pending

    def has(self, entry: Entry, digits: str) -> bool | None:
        """Whether a file's hash of any kind begins with the digits; None while none of them is known."""
        computed = [self._index.hash_of(stamp_of(entry), algorithm) for algorithm in ALGORITHMS]
        known = [digest for digest in (*computed, entry.metadata.get("sshs_model_hash")) if digest]
        return any(digest.startswith(digits.lower()) for digest in known) if known else None

    def find(self, entries: Sequence[Entry], digits: str, *, patience: float) -> Entry | None:
        """The file whose hash begins with the digits, or None.

        Hashes that are known are compared first; others are computed for as many seconds as there is patience.
        """
        if len(digits) < LEAST_DIGITS:
            return None
        known = self._all_known()
        for entry in entries:
            stored = entry.metadata.get("sshs_model_hash", "")
            if any(digest.startswith(digits.lower()) for digest in (stored, *known.get(stamp_of(entry), ()))):
                return entry
        deadline = time.monotonic() + patience
        for entry in entries:
            if time.monotonic() >= deadline:
                return None
            if stamp_of(entry) not in known and self._is_now_known_as(entry, digits, deadline):
                return entry
        return None

    def _all_known(self) -> dict[Stamp, list[str]]:
        """The hashes of every file hashed so far."""
        known: dict[Stamp, list[str]] = {}
        for algorithm in ALGORITHMS:
            for place, digest in self._index.hashes(algorithm).items():
                known.setdefault(place, []).append(digest)
        return known

    def _is_now_known_as(self, entry: Entry, digits: str, deadline: float) -> bool:
        """Whether the hash, computed now unless that takes too long, is the one asked for.

        A1111 writes twelve digits of a LoRA's own hash; whoever writes another number of them means the whole file's.
        """
        future = self.short(entry) if len(digits) == LORA_DIGITS else self.hash(entry, "sha256")
        try:
            return future.result(max(0.0, deadline - time.monotonic())).startswith(digits.lower())
        except (TagbrushError, TimeoutError):
            return False

    def short(self, entry: Entry) -> Future[str]:
        """The digits that infotexts show (D046): 12 of a LoRA or embedding, 10 of the other kinds.

        Those of a LoRA are what its own metadata says, else the hash of its weights without their header.
        """
        is_lora = entry.kind == "lora"
        if is_lora and (stored := entry.metadata.get("sshs_model_hash")):
            return _future(stored[:LORA_DIGITS])
        digits = LORA_DIGITS if entry.kind in ("lora", "embedding") else 10
        short = _future()
        whole = self.hash(entry, "addnet" if is_lora and entry.path.suffix.lower() == ".safetensors" else "sha256")
        whole.add_done_callback(lambda done: _pass_on(done, short, lambda digest: digest[:digits]))
        return short

    def _computed(self, entry: Entry, algorithm: Algorithm, computed: Future[str]) -> None:
        """Keep a hash, unless the file changed meanwhile, and hand it to those who wait."""
        place = stamp_of(entry)
        try:
            if computed.exception() is None and stamp(entry.path) == place:
                self._index.save_hash(place, algorithm, computed.result())
                if algorithm == "sha256":
                    self._on_known(entry.kind)
        finally:
            with self._lock:
                waiting = self._pending.pop((place, algorithm))
            _pass_on(computed, waiting, str)


class _HashThread:
    """A thread, started at the first hash asked for, that never keeps the program from ending."""

    def __init__(self) -> None:
        self._tasks: queue.SimpleQueue[tuple[Path, Algorithm, Future[str]] | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def hash(self, path: Path, algorithm: Algorithm) -> Future[str]:
        future = _future()
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
        with self._lock:
            self._closing.set()
            self._tasks.put(None)
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            path, algorithm, future = task
            try:
                digest = digest_of(path, algorithm, stop=self._closing.is_set)
            except Closed as error:
                future.set_exception(error)
            except OSError as error:
                future.set_exception(BadFile(path, f"cannot be read: {error.strerror or error}."))
            else:
                future.set_result(digest)


def _future(result: str | None = None) -> Future[str]:
    """A future that those who wait for it cannot cancel for one another, with its result if that is known."""
    future: Future[str] = Future()
    future.set_running_or_notify_cancel()
    if result is not None:
        future.set_result(result)
    return future


def _pass_on(done: Future[str], waiting: Future[str], change: Callable[[str], str]) -> None:
    """Give what one future holds to another."""
    error = done.exception()
    if error is not None:
        waiting.set_exception(error)
    else:
        waiting.set_result(change(done.result()))


def digest_of(path: Path, algorithm: Algorithm = "sha256", stop: Callable[[], bool] = lambda: False) -> str:
    """The hash of a file; "addnet" leaves out a .safetensors header, so that new metadata does not change it (D046).

    A folder in diffusers' layout is hashed as the hashes of its weights in order. Raises OSError, and Closed once
    `stop()` is true.
    """
    digest = hashlib.sha256()
    for file in _weights(path) if path.is_dir() else (path,):
        with file.open("rb") as stream:
            if algorithm == "addnet" and file.suffix.lower() == ".safetensors":
                header = 8 + int.from_bytes(stream.read(8), "little")
                stream.seek(min(header, file.stat().st_size))
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
