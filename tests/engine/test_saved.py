"""Pictures that nobody could record are found again, as far as the disk lets anyone look."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import pytest
from PIL import Image

from modules.catalogue import Folders
from modules.engine.saved import SavedPictures, kept_folder, unsaved_folder
from modules.images import Mark, files, save_picture
from modules.jobs import Job, JobStore
from modules.params import Settings, Txt2ImgRequest


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders.from_args(shipped=tmp_path)


@pytest.fixture
def job() -> Job:
    return JobStore(None).add(Txt2ImgRequest(seed=1, n_iter=4), Settings())


def save(job: Job, index: int, folder: Path) -> Path:
    mark = Mark(job_id=job.id, index=index, seed=index, infotext="a cat", width=8, height=8)
    picture = Image.new("RGB", (8, 8), "teal")
    return save_picture(picture, folder, seed=index, infotext="a cat", day=date.today(), mark=mark)


def test_a_job_without_any_folder_has_nothing(folders: Folders, job: Job, caplog: pytest.LogCaptureFixture) -> None:
    assert list(SavedPictures(folders).found(job)) == []
    assert not caplog.records


def test_one_folder_that_cannot_be_read_does_not_hide_what_is_in_another(
    folders: Folders, job: Job, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kept = kept_folder(job.request, job.settings, folders)
    shown = save(job, 0, unsaved_folder(job.id, folders).parent)
    os.rename(shown.parent, unsaved_folder(job.id, folders))
    save(job, 1, kept)
    iterdir = Path.iterdir

    def refuse(folder: Path) -> object:
        if folder == kept:
            raise PermissionError(13, "Permission denied", str(folder))
        return iterdir(folder)

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert [picture.index for picture in SavedPictures(folders).found(job)] == [0]
    assert "Permission denied" in caplog.text


def test_a_half_written_file_that_another_program_holds_does_not_hide_the_pictures_beside_it(
    folders: Folders, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = save(job, 0, kept_folder(job.request, job.settings, folders))
    held, free = (saved.with_name(f".{job.id}-{index}.tmp") for index in (1, 2))
    held.touch()
    free.touch()
    unlink = Path.unlink

    def hold(path: Path, missing_ok: bool = False) -> None:
        if path == held:
            raise PermissionError(13, "The process cannot access the file", str(path))
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", hold)
    assert [picture.path for picture in SavedPictures(folders).found(job)] == [saved]
    assert (held.exists(), free.exists()) == (True, False)


def test_a_picture_that_cannot_be_read_does_not_hide_the_others(
    folders: Folders, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, *others = (save(job, index, kept_folder(job.request, job.settings, folders)) for index in range(3))
    read_mark = files.read_mark

    def refuse(path: Path) -> Mark | None:
        if path == broken:
            raise OSError(5, "Input/output error", str(path))
        return read_mark(path)

    monkeypatch.setattr(files, "read_mark", refuse)
    assert [picture.path for picture in SavedPictures(folders).found(job)] == others


def test_a_folder_whose_half_written_files_cannot_be_listed_is_still_looked_through(
    folders: Folders, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    saved = save(job, 0, kept_folder(job.request, job.settings, folders))
    monkeypatch.setattr("modules.engine.saved.remove_unfinished", refuse)
    assert [picture.path for picture in SavedPictures(folders).found(job)] == [saved]
