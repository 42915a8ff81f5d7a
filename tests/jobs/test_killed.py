"""Worker and server are killed at every point of saving a picture: none is lost, none is made or kept twice."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from modules.images import read_mark, read_metadata
from modules.jobs import Job, JobState, JobStore

from .conftest import ROOT, Bench
from .mortal import SERVER_POINTS, WORKER_POINTS

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")

SERVER = Path(__file__).with_name("server.py")


def some(points: Iterable[str], *quick: str) -> list[Any]:
    """The points, all but the quick ones for the slow tests."""
    return [point if point in quick else pytest.param(point, marks=pytest.mark.slow) for point in points]


def has_all_pictures_once(job: Job, folder: Path, count: int = 3) -> None:
    """The job is done, and the files on disk are its pictures and nothing else."""
    assert job.state is JobState.DONE, job.error
    assert [picture.index for picture in job.pictures] == list(range(count))
    paths = [picture.path for picture in job.pictures]
    assert sorted(paths) == sorted(path for path in (folder / "outputs").rglob("*") if path.is_file())
    for picture in job.pictures:
        assert read_mark(picture.path) is None
        assert read_metadata(picture.path.read_bytes()).infotext == picture.infotext == f"picture {picture.index}"
        assert picture.path.name.endswith(f"-{picture.seed}.png")
        assert picture.seed == 5 + picture.index


def serve(folder: Path, *arguments: str, **variables: str) -> int:
    """The exit code of a server that does the jobs of the folder."""
    command = [sys.executable, str(SERVER), str(folder), *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(command, env=env, timeout=120, check=False).returncode


def only_job(folder: Path) -> Job:
    store = JobStore(folder / "queue.db")
    (job,) = store.recent()
    store.close()
    return job


@pytest.mark.parametrize("point", some(WORKER_POINTS, "half-written", "renamed", "saved"))
def test_a_worker_killed_while_it_saves_loses_and_doubles_nothing(bench: Bench, point: str) -> None:
    job = bench.done(bench.submit(f"save save:{point} save"))
    has_all_pictures_once(job, bench.folder)
    assert job.attempts == 2


def test_what_a_worker_killed_at_its_last_attempt_had_saved_is_kept(bench: Bench) -> None:
    job = bench.done(bench.submit("save:saved die", n_iter=2))
    assert (job.state, job.error_kind) == (JobState.FAILED, "worker")
    assert len(job.pictures) == 1


def test_a_worker_killed_between_its_last_picture_and_its_last_word_has_done_the_job(bench: Bench) -> None:
    job = bench.done(bench.submit("save:half-written save:saved"))
    has_all_pictures_once(job, bench.folder, 2)
    assert job.attempts == 2


def killed_and_started_again(folder: Path, prompt: str, point: str = "") -> Job:
    assert serve(folder, point, prompt) == -9
    assert only_job(folder).state is JobState.RUNNING
    assert serve(folder) == 0
    return only_job(folder)


@pytest.mark.parametrize("point", some(WORKER_POINTS, "renamed"))
def test_a_server_killed_while_its_worker_saves_owes_only_what_is_not_there(tmp_path: Path, point: str) -> None:
    has_all_pictures_once(killed_and_started_again(tmp_path, f"save save::{point} save"), tmp_path)


@pytest.mark.parametrize("point", some(SERVER_POINTS, "recorded"))
def test_a_server_killed_while_it_records_owes_only_what_is_not_there(tmp_path: Path, point: str) -> None:
    has_all_pictures_once(killed_and_started_again(tmp_path, "save save save", point), tmp_path)


@pytest.mark.slow
def test_a_job_that_comes_on_is_done_however_often_the_server_is_killed(tmp_path: Path) -> None:
    prompt = "save::renamed save::saved save::told save::synced save"
    assert serve(tmp_path, "", prompt) == -9
    while (code := serve(tmp_path)) == -9:
        pass
    assert code == 0
    has_all_pictures_once(only_job(tmp_path), tmp_path, 5)


@pytest.mark.parametrize("point", some(SERVER_POINTS, "told"))
def test_a_server_killed_over_a_job_on_two_workers_owes_only_what_is_not_there(tmp_path: Path, point: str) -> None:
    assert serve(tmp_path, point, "each", WORKERS="2", BATCHES="6") == -9
    assert only_job(tmp_path).state is JobState.RUNNING
    assert serve(tmp_path, WORKERS="2") == 0
    has_all_pictures_once(only_job(tmp_path), tmp_path, 6)


def test_a_job_that_was_asked_to_end_is_over_after_the_server_was_killed(tmp_path: Path) -> None:
    assert serve(tmp_path, "stopping", "save wait save") == -9
    assert only_job(tmp_path).state is JobState.RUNNING
    assert serve(tmp_path) == 0
    job = only_job(tmp_path)
    assert job.state is JobState.INTERRUPTED
    assert [picture.index for picture in job.pictures] == [0]
