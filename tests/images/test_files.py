"""Saving pictures."""

from __future__ import annotations

import errno
import os
import threading
import time
from datetime import date
from pathlib import Path

import pytest
from PIL import Image

from modules.images import DiskFull, SaveFailed, read_metadata, save_picture

PICTURE = Image.new("RGB", (8, 8), "teal")


def test_names_count_up_and_carry_the_seed(tmp_path: Path) -> None:
    names = [save_picture(PICTURE, tmp_path, seed=seed, infotext="x").name for seed in (7, 7, 8)]
    assert names == ["00000-7.png", "00001-7.png", "00002-8.png"]


def test_pictures_of_a_day_lie_in_a_folder_of_that_day(tmp_path: Path) -> None:
    path = save_picture(PICTURE, tmp_path / "new", seed=1, infotext="x", day=date(2026, 1, 31))
    assert path == tmp_path / "new" / "2026-01-31" / "00000-1.png"


def test_the_number_follows_the_largest_whatever_is_missing(tmp_path: Path) -> None:
    for name in ("00041-5.jpg", "00007-9.png", "grid-0099.png", "notes.txt", "00100"):
        (tmp_path / name).write_bytes(b"x")
    assert save_picture(PICTURE, tmp_path, seed=3, infotext="").name == "00042-3.png"


def test_the_sixth_digit_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "99999-1.png").write_bytes(b"x")
    assert save_picture(PICTURE, tmp_path, seed=3, infotext="").name == "100000-3.png"


def test_the_infotext_is_in_the_file(tmp_path: Path) -> None:
    path = save_picture(PICTURE, tmp_path, seed=1, infotext="a cat\nSteps: 4", format="jpg")
    assert path.suffix == ".jpg"
    assert read_metadata(path.read_bytes()).infotext == "a cat\nSteps: 4"


def test_nothing_but_the_picture_is_left_behind(tmp_path: Path) -> None:
    save_picture(PICTURE, tmp_path, seed=1, infotext="")
    assert [path.name for path in tmp_path.iterdir()] == ["00000-1.png"]


class HeldByScanner(PermissionError):
    winerror = 32


def test_a_virus_scanner_that_holds_a_new_file_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename, refusals = os.replace, iter([HeldByScanner(), HeldByScanner()])

    def refuse_twice(source: Path, target: Path) -> None:
        if error := next(refusals, None):
            raise error
        rename(source, target)

    monkeypatch.setattr(os, "replace", refuse_twice)
    save_picture(PICTURE, tmp_path, seed=1, infotext="")
    assert [path.name for path in tmp_path.iterdir()] == ["00000-1.png"]


def test_threads_saving_at_once_never_share_a_number(tmp_path: Path) -> None:
    def work() -> None:
        for _ in range(10):
            save_picture(PICTURE, tmp_path, seed=1, infotext="")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    numbers = [path.name.partition("-")[0] for path in tmp_path.iterdir()]
    assert len(numbers) == len(set(numbers)) == 80


def test_a_process_that_died_while_saving_blocks_nobody(tmp_path: Path) -> None:
    stale, fresh = tmp_path / ".00000.part", tmp_path / ".00001.part"
    stale.touch()
    fresh.touch()
    os.utime(stale, (time.time() - 7200,) * 2)
    assert save_picture(PICTURE, tmp_path, seed=1, infotext="").name == "00002-1.png"
    assert not stale.exists()
    assert fresh.exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SaveFailed, match="file"):
        save_picture(PICTURE, tmp_path / "file" / "below", seed=1, infotext="")


def test_a_full_disk_is_told_from_other_failures_and_keeps_nothing_of_the_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFull, match="No space left"):
        save_picture(PICTURE, tmp_path, seed=1, infotext="x")
    assert not list(tmp_path.iterdir())
