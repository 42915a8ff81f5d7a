"""The whole program with two workers: the files are those of one, and a killed server owes what is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Json, Program, program
from .files import furnish

pytestmark = pytest.mark.slow

SPREAD = {"seed": 5, "steps": 30, "n_iter": 8, "batch_size": 2}


def at_work(running: Program) -> list[str | None]:
    """The job that each worker is at."""
    return [worker["job_id"] for worker in running.http.get("/tagbrush/v1/status").json()["workers"]]


def both_at(running: Program, job_id: str) -> None:
    running.until(lambda: at_work(running) == [job_id, job_id])


def made(job: Json) -> list[tuple[int, int]]:
    return [(picture["index"], picture["seed"]) for picture in job["pictures"]]


def test_a_job_on_two_workers_survives_the_server_and_its_end_does_too(tmp_path: Path) -> None:
    data = tmp_path / "data"
    furnish(data)
    with program(data, "--nowebui") as one:
        alone = one.make("a cat <lora:lin:1>", **SPREAD)
        expected = one.files(alone)
    with program(data, "--nowebui", "--devices", "cpu,cpu") as two:
        two.until(lambda: {worker["state"] for worker in two.served.get("/tagbrush/v1/status")["workers"]} == {"ready"})
        cut = two.submit("a dog", steps=2000, n_iter=6)
        both_at(two, cut)
        two.post(f"/tagbrush/v1/jobs/{cut}/interrupt")
        assert two.end(cut)["state"] == "interrupted"
        job_id = two.submit("a cat <lora:lin:1>", **SPREAD)
        both_at(two, job_id)
        under_way = two.until(lambda: job if len((job := two.job(job_id))["pictures"]) >= 3 else None)
        assert under_way["progress"]["batches"] == 8
        waiting = two.submit("a dog", steps=2000, n_iter=2)
        two.served.process.kill()
        two.served.process.wait()
    with program(data, "--nowebui", "--devices", "cpu,cpu") as again:
        job = again.end(job_id)
        assert job["state"] == "done", job["error"]
        assert made(job) == [(number, 5 + number) for number in range(16)]
        assert again.files(job) == expected
        again.running(waiting)
        again.post(f"/tagbrush/v1/jobs/{waiting}/interrupt")
        again.served.process.kill()
        again.served.process.wait()
    with program(data, "--nowebui") as last:
        assert last.end(waiting)["state"] == "interrupted"
    names = [path.name for path in (data / "outputs" / "txt2img-images").rglob("*.png")]
    seeds = sorted(int(name.split("-")[1].removesuffix(".png")) for name in names)
    assert [seed for seed in seeds if seed != 7] == sorted([*range(5, 7), *range(8, 21)] * 2)
