"""Pictures made elsewhere are saved as if they had been made here."""

from __future__ import annotations

from pathlib import Path

import pytest

from modules.catalogue import Folders
from modules.cluster import arrivals as module
from modules.cluster.arrivals import Arrivals
from modules.engine.saved import SavedPictures
from modules.images import DiskFull, SaveFailed
from modules.jobs import Job, JobState
from modules.jobs.messages import Failed, Interrupt, Message, Notice, PictureSaved, Run
from modules.params import Settings, Txt2ImgRequest

REQUEST = Txt2ImgRequest(prompt="x", seed=4)
PICTURE = PictureSaved(job_id="a", index=2, path="/far/away.png", seed=4, infotext="made", width=8, height=8)


class Both:
    """Server and node, who remember what they were told."""

    def __init__(self, folders: Folders) -> None:
        self.server: list[Message] = []
        self.node: list[Message] = []
        self.arrivals = Arrivals(folders, self.server.append, self.node.append, pauses=(0.0, 0.0))
        self.run = self.arrivals.expect(
            Run(job_id="a", request=REQUEST.model_dump(mode="json"), settings={"outdir_txt2img_samples": "mine"})
        )

    def save(self, data: bytes = b"bytes", *, is_kept: bool = True) -> None:
        self.arrivals.save(PICTURE, data, ".png", is_kept=is_kept)


@pytest.fixture
def both(tmp_path: Path) -> Both:
    return Both(Folders.from_args(shipped=tmp_path))


def test_they_get_the_next_number_of_the_folder_that_the_server_chose(both: Both, tmp_path: Path) -> None:
    both.save()
    both.save()
    names = [Path(each.path).name for each in both.server if isinstance(each, PictureSaved)]
    assert names == ["00000-4.png", "00001-4.png"]
    saved = next(each for each in both.server if isinstance(each, PictureSaved))
    assert Path(saved.path).parent.parent == tmp_path / "mine"
    assert saved.model_copy(update={"path": PICTURE.path}) == PICTURE
    assert both.run.settings["outdir_txt2img_samples"] != "mine", "the node has no such folder"


def test_a_picture_whose_relay_died_before_it_was_told_is_found_again(both: Both, tmp_path: Path) -> None:
    both.save(b"whole picture")
    job = Job(id="a", task="txt2img", state=JobState.RUNNING, created=0, request=REQUEST,
              settings=Settings().overridden({"outdir_txt2img_samples": "mine"}))  # fmt: skip
    [picture] = SavedPictures(Folders.from_args(shipped=tmp_path)).found(job)
    assert (picture.index, picture.seed, picture.infotext) == (2, 4, "made")
    SavedPictures(Folders.from_args(shipped=tmp_path)).recorded(picture)
    assert picture.path.read_bytes() == b"whole picture"


def test_a_full_disk_is_given_some_time(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    full = [True, True]
    real = module.save_encoded

    def save(*arguments: object, **options: object) -> Path:
        if full and full.pop():
            raise DiskFull("The disk is full.")
        return real(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "save_encoded", save)
    both.save()
    assert [type(each) for each in both.server] == [Notice, Notice, PictureSaved]
    assert not both.node


def test_a_picture_that_cannot_be_saved_fails_its_job_and_stops_the_node(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(*arguments: object, **options: object) -> Path:
        raise SaveFailed("No rights.")

    monkeypatch.setattr(module, "save_encoded", save)
    both.save()
    both.save()
    assert both.server == [Failed(job_id="a", error="No rights.", kind="disk")]
    assert both.node == [Interrupt(job_id="a")]
    assert both.arrivals.gave_up("a")
    both.arrivals.over("a")
    assert not both.arrivals.gave_up("a")


def test_a_job_that_is_to_stop_waits_for_no_disk(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    def save(*arguments: object, **options: object) -> Path:
        raise DiskFull("The disk is full.")

    monkeypatch.setattr(module, "save_encoded", save)
    both.arrivals.stopped("a")
    both.save()
    assert [type(each) for each in both.server] == [Failed]


def test_nothing_is_kept_of_jobs_that_are_over(both: Both) -> None:
    both.arrivals.stopped("a")
    both.arrivals.over("a")
    both.arrivals.stopped("a")
    assert not (both.arrivals._jobs or both.arrivals._stopped or both.arrivals._given_up)
