"""Processes that die: no job is lost, none is done twice, nothing is left behind."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest
from PIL import Image

from .conftest import Program, program
from .files import digests, furnish

LONG = {"steps": 40, "n_iter": 3}


def saved(data: Path) -> set[Path]:
    """The pictures on disk, each of them whole."""
    paths = set((data / "outputs").rglob("*.png"))
    for path in paths:
        with Image.open(path) as picture:
            picture.load()
    return paths


def is_gone(process: psutil.Process) -> bool:
    """Whether it has ended; one that nobody has asked for its exit code yet has."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def one_picture_is_done(running: Program, job_id: str) -> None:
    running.until(lambda: running.job(job_id)["pictures"] or None)


def test_interrupt_stops_within_a_step_and_keeps_what_exists(shared: Program) -> None:
    before = saved(shared.data)
    job_id = shared.submit("a cat <lora:lin:1>", steps=100, n_iter=50)
    one_picture_is_done(shared, job_id)
    asked = shared.job(job_id)["progress"]
    shared.post(f"/tagbrush/v1/jobs/{job_id}/interrupt")
    job = shared.end(job_id)
    assert job["state"] == "interrupted"
    assert 1 <= len(job["pictures"]) <= asked["batch"] + 3
    assert len(saved(shared.data) - before) <= len(job["pictures"])


def test_a_waiting_job_that_is_interrupted_never_starts(shared: Program) -> None:
    first, second, third = (shared.submit(seed=seed, steps=steps) for seed, steps in ((1, 5000), (2, 50), (3, 50)))
    shared.running(first)
    for job_id in (second, first):
        shared.post(f"/tagbrush/v1/jobs/{job_id}/interrupt")
    jobs = [shared.end(job_id) for job_id in (first, second, third)]
    assert [job["state"] for job in jobs] == ["interrupted", "cancelled", "done"]
    assert jobs[1]["started"] is None


def test_skip_goes_on_with_the_next_batch(shared: Program) -> None:
    job_id = shared.submit("a dog", steps=5000, n_iter=2)
    shared.running(job_id, step=3)
    began = time.monotonic()
    shared.post(f"/tagbrush/v1/jobs/{job_id}/skip")
    shared.until(lambda: (shared.job(job_id)["progress"] or {}).get("batch") == 1 or None)
    shared.post(f"/tagbrush/v1/jobs/{job_id}/skip")
    job = shared.end(job_id)
    assert time.monotonic() - began < 30
    assert job["state"] in ("done", "interrupted")
    assert len(job["pictures"]) <= 2


def test_a_job_whose_worker_is_killed_is_done_on_a_new_one(shared: Program) -> None:
    undisturbed = shared.make("a cat <lora:lin:1>", seed=5, **LONG)
    before = saved(shared.data)
    worker = shared.worker()
    job_id = shared.submit("a cat <lora:lin:1>", seed=6, **LONG)
    one_picture_is_done(shared, job_id)
    worker.kill()
    job = shared.end(job_id)
    assert job["state"] == "done", job["error"]
    assert job["attempts"] == 2
    assert [picture["index"] for picture in job["pictures"]] == [0, 1, 2]
    assert "started again" in job["notices"][0]
    assert len(saved(shared.data) - before) == 3
    # Seeds 6 and 7 of the disturbed job are the second and third pictures of the undisturbed one.
    assert shared.files(job)[:2] == shared.files(undisturbed)[1:]


@pytest.mark.slow
def test_a_job_that_kills_every_worker_fails_and_the_next_one_is_done(shared: Program) -> None:
    poison = shared.submit("poison", steps=5000)
    next_one = shared.submit("a cat", seed=8)
    for attempt in (1, 2):
        shared.until(lambda attempt=attempt: shared.job(poison)["attempts"] == attempt or None)
        shared.running(poison)
        shared.worker().kill()
    job = shared.end(poison)
    assert job["state"] == "failed"
    assert "killed by signal 9" in job["error"] or "exit code" in job["error"]
    assert "at each of 2 attempts" in job["error"]
    assert shared.end(next_one)["state"] == "done"


def test_nothing_but_outputs_and_our_database_is_written(shared: Program, furnished: dict[str, str]) -> None:
    """The data folder may be someone's A1111 folder; `server.log` is the test's own."""
    ours = ("outputs/", "tagbrush.db", "tagbrush-index.db", "server.log")
    assert {name: digest for name, digest in digests(shared.data).items() if not name.startswith(ours)} == furnished


@pytest.mark.slow
def test_a_server_that_is_killed_leaves_no_worker_and_owes_nothing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    furnish(data)
    with program(data, "--nowebui") as first:
        job_id = first.submit("a cat <lora:lin:1>", **LONG)
        waiting = first.submit("a dog", negative_prompt="a cat", seed=9)
        one_picture_is_done(first, job_id)
        worker = first.worker()
        first.served.process.kill()
        first.until(lambda: is_gone(worker) or None)
    with program(data, "--nowebui") as second:
        jobs = [second.end(job_id), second.end(waiting)]
        assert [job["state"] for job in jobs] == ["done", "done"]
        assert [picture["index"] for picture in jobs[0]["pictures"]] == [0, 1, 2]
        assert len(saved(data)) == 4
        assert len(second.files(jobs[0])) == 3


@pytest.mark.slow
def test_a_server_that_is_stopped_finishes_its_job_at_the_next_start(tmp_path: Path) -> None:
    data = tmp_path / "data"
    furnish(data)
    with program(data, "--nowebui") as first:
        first.post("/sdapi/v1/options", CLIP_stop_at_last_layers=2)
        job_id = first.submit(**LONG)
        one_picture_is_done(first, job_id)
        worker = first.worker()
    first.until(lambda: is_gone(worker) or None)
    with program(data, "--nowebui") as second:
        job = second.end(job_id)
        assert job["state"] == "done"
        assert second.http.get("/sdapi/v1/options").json()["CLIP_stop_at_last_layers"] == 2
        assert second.http.get("/tagbrush/v1/jobs").json()[0]["id"] == job_id
        assert len(job["pictures"]) == len(saved(data)) == 3
