"""Pictures given to the page do not stay for ever (R007)."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

from modules.app.tidying import remove_uploads

NOW = 1_000_000.0


def upload(root: Path, content: bytes, age: float) -> Path:
    folder = root / sha256(content).hexdigest()
    folder.mkdir(parents=True)
    (folder / "picture.png").write_bytes(content)
    for path in (folder / "picture.png", folder):
        os.utime(path, (NOW - age, NOW - age))
    return folder


def test_what_is_older_than_a_day_goes_and_the_rest_stays(tmp_path: Path) -> None:
    # R007
    old, young = upload(tmp_path, b"old", 90_000), upload(tmp_path, b"young", 80_000)
    remove_uploads(tmp_path, NOW - 86_400)
    assert (old.exists(), young.exists()) == (False, True)


def test_the_oldest_go_first_where_there_is_too_much(tmp_path: Path) -> None:
    # R007
    folders = [upload(tmp_path, bytes([number]) * 100, age=number) for number in range(5)]
    remove_uploads(tmp_path, 0, most=250)
    assert [folder.exists() for folder in folders] == [True, True, False, False, False]


def test_nothing_else_in_the_folder_is_touched(tmp_path: Path) -> None:
    # R007
    for name in ("mine", "0123456789abcdef", "x" * 64):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(b"mine")
    (tmp_path / ("0" * 64)).write_bytes(b"no folder")
    target = upload(tmp_path / "elsewhere", b"linked to", 10**6)
    (tmp_path / ("1" * 64)).symlink_to(target)
    before = sorted(tmp_path.rglob("*"))
    remove_uploads(tmp_path, NOW + 10**9, most=0)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_is_not_there_yet_is_no_trouble(tmp_path: Path) -> None:
    remove_uploads(tmp_path / "none", NOW)
