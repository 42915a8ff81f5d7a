"""The mark at the end of a picture's file."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, features

from modules.images import (
    Mark,
    decode_picture,
    marked_pictures,
    read_mark,
    read_metadata,
    remove_mark,
    remove_unfinished,
    save_picture,
)

MARK = Mark(job_id="a" * 32, index=3, seed=2**64 - 1, infotext="ein Käfer 🪲\nSteps: 4", width=8, height=8, kind="mask")
PICTURE = Image.new("RGB", (8, 8), "teal")
NO_AVIF = pytest.mark.skipif(not features.check("avif"), reason="this Pillow was built without AVIF")
FORMATS = ["png", "jpg", "webp", pytest.param("avif", marks=NO_AVIF)]


def save(folder: Path, format: str = "png", mark: Mark | None = MARK) -> Path:
    return save_picture(PICTURE, folder, seed=1, infotext=MARK.infotext, format=format, mark=mark)


@pytest.mark.parametrize("format", FORMATS)
def test_a_marked_file_is_the_picture_it_would_be_without(tmp_path: Path, format: str) -> None:
    marked, plain = save(tmp_path, format), save(tmp_path, format, mark=None)
    assert read_mark(marked) == MARK
    assert read_mark(plain) is None
    data = marked.read_bytes()
    assert read_metadata(data) == read_metadata(plain.read_bytes())
    assert decode_picture(data).tobytes() == decode_picture(plain.read_bytes()).tobytes()


@pytest.mark.parametrize("format", FORMATS)
def test_without_its_mark_a_file_has_the_bytes_of_one_that_never_had_any(tmp_path: Path, format: str) -> None:
    marked, plain = save(tmp_path, format), save(tmp_path, format, mark=None)
    for _ in range(2):
        remove_mark(marked)
        assert marked.read_bytes() == plain.read_bytes()
        assert read_mark(marked) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"TAGBRUSH",
        bytes(MARK)[:-1],
        bytes(MARK)[1:],
        bytes(MARK).replace(b"free", b"moov"),
        b"\0\0\0\x14free\0\0\0\x14TAGBRUSH",
        b"\xff\xff\xff\xfffree\xff\xff\xff\xffTAGBRUSH",
    ],
)
def test_what_only_looks_like_a_mark_is_left_alone(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(data)
    assert read_mark(path) is None
    remove_mark(path)
    assert path.read_bytes() == data


def test_a_mark_that_says_something_else_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(bytes(MARK).replace(b'"index": 3', b'"index": x'))
    assert read_mark(path) is None


def test_only_the_jobs_own_new_pictures_are_found(tmp_path: Path) -> None:
    mine = save(tmp_path)
    save(tmp_path, mark=MARK.model_copy(update={"job_id": "b" * 32}))
    save(tmp_path, mark=None)
    (tmp_path / "notes.txt").write_bytes(bytes(MARK))
    assert list(marked_pictures(tmp_path, MARK.job_id, since=0)) == [(mine, MARK)]
    assert list(marked_pictures(tmp_path, MARK.job_id, since=mine.stat().st_mtime + 1)) == []


def test_only_the_jobs_own_half_written_files_are_removed(tmp_path: Path) -> None:
    for name, text in {
        f".{MARK.job_id}-0.tmp": "",
        ".00000.part": f"{MARK.job_id}-0",
        ".bbb-0.tmp": "",
        ".00001.part": "bbb-0",
        ".00002.part": "",
        ".hidden": MARK.job_id,
        f"{MARK.job_id}-0.tmp": "",
    }.items():
        (tmp_path / name).write_text(text)
    remove_unfinished(tmp_path, MARK.job_id)
    left = {".bbb-0.tmp", ".00001.part", ".00002.part", ".hidden", f"{MARK.job_id}-0.tmp"}
    assert {path.name for path in tmp_path.iterdir()} == left


def test_the_half_written_files_of_other_pictures_of_the_job_can_stay(tmp_path: Path) -> None:
    for number in (1, 2, 12):
        (tmp_path / f".{MARK.job_id}-{number}.tmp").touch()
        (tmp_path / f".{number:05}.part").write_text(f"{MARK.job_id}-{number}")
    remove_unfinished(tmp_path, MARK.job_id, {2, 7})
    left = {f".{MARK.job_id}-{number}.tmp" for number in (1, 12)} | {".00001.part", ".00012.part"}
    assert {path.name for path in tmp_path.iterdir()} == left
