"""A node's cache holds whole, checked files, each of them once."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import threading
from collections import namedtuple
from pathlib import Path

import pytest

from modules.cluster import blobs as module
from modules.cluster.blobs import Arrival, Blobs, NotCopied, hold, is_held

DATA = b"weights" * 1000
DIGEST = hashlib.sha256(DATA).hexdigest()
Usage = namedtuple("Usage", "total used free")


def copy(blobs: Blobs, data: bytes = DATA, digest: str | None = None) -> Path:
    arrival = Arrival(blobs, digest or hashlib.sha256(data).hexdigest(), len(data))
    assert arrival.path is None
    arrival.add(data[:10])
    arrival.add(data[10:])
    return arrival.finish()


def test_what_was_copied_is_found_by_its_hash(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "files")
    assert blobs.find(DIGEST) is None
    path = copy(blobs)
    assert path.read_bytes() == DATA
    assert blobs.find(DIGEST) == path
    assert Arrival(blobs, DIGEST, len(DATA)).path == path


def test_other_contents_than_were_promised_leave_nothing(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    with pytest.raises(NotCopied, match="changed"):
        copy(blobs, b"something else", DIGEST)
    assert blobs.find(DIGEST) is None
    assert not list(tmp_path.glob("*.part"))
    assert copy(blobs).read_bytes() == DATA


def test_what_a_killed_worker_left_half_copied_is_copied_anew(tmp_path: Path) -> None:
    (tmp_path / f"{DIGEST}.part").write_bytes(b"half")
    assert copy(Blobs(tmp_path)).read_bytes() == DATA


def test_a_second_worker_waits_for_the_first_and_copies_nothing(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    first = Arrival(blobs, DIGEST, len(DATA))
    second: list[Arrival] = []
    waiting = threading.Thread(target=lambda: second.append(Arrival(blobs, DIGEST, len(DATA))))
    waiting.start()
    waiting.join(0.2)
    assert not second
    first.add(DATA)
    path = first.finish()
    waiting.join(60)
    assert not waiting.is_alive()
    assert second[0].path == path


def test_room_is_made_of_what_was_used_longest_ago_and_is_not_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = Blobs(tmp_path / "files")
    old, used, fresh = (copy(blobs, data) for data in (b"old" * 9, b"used" * 9, b"fresh" * 9))
    for path, time in ((used, 1), (old, 2), (fresh, 3)):
        os.utime(path, (time, 5))
    os.link(used, tmp_path / "in a tree")

    def usage(folder: Path) -> Usage:
        gone = [path for path in (old, used, fresh) if not path.exists()]
        return Usage(0, 0, module.RESERVE + 100 * len(gone))

    monkeypatch.setattr(shutil, "disk_usage", usage)
    blobs.make_room(100)
    assert (old.exists(), used.exists(), fresh.exists()) == (False, True, True)
    with pytest.raises(NotCopied, match="TAGBRUSH_NODE_CACHE"):
        blobs.make_room(1000)


def test_what_another_worker_removes_meanwhile_is_no_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = Blobs(tmp_path / "files")
    path = copy(blobs)
    there = path.stat

    class Gone(type(path)):  # type: ignore[misc]
        """Listed, but removed before it is looked at."""

        def stat(self, **options: object) -> os.stat_result:
            there()
            raise FileNotFoundError(2, "No such file", str(self))

    monkeypatch.setattr(Path, "iterdir", lambda folder: iter([Gone(path)]))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(0, 0, module.RESERVE))
    with pytest.raises(NotCopied, match="TAGBRUSH_NODE_CACHE"):
        blobs.make_room(1)


class FullDisk(io.BytesIO):
    """A file on a disk that is full, also when it is closed."""

    def write(self, data: object) -> int:
        raise OSError(28, "No space left on device")

    def close(self) -> None:
        super().close()
        raise OSError(28, "No space left on device")


def test_a_copy_that_fails_lets_the_next_worker_in_and_leaves_its_copy_alone(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    first = Arrival(blobs, DIGEST, len(DATA))
    assert first._file is not None
    first._file.close()
    first._file = FullDisk()
    with pytest.raises(NotCopied, match="No space left"):
        first.add(DATA)
    second = Arrival(blobs, DIGEST, len(DATA))
    second.add(DATA)
    first.close()
    assert second.finish().read_bytes() == DATA


def test_a_lock_is_held_as_long_as_its_file_is_open(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with hold(path):
        assert is_held(path)
    assert not is_held(path)
