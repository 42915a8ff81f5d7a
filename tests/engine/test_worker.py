"""The real worker process, from the queue to a picture."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable
from functools import partial

import pytest
from PIL import Image

from modules.catalogue import Folders
from modules.engine.config import EngineConfig, worker_command
from modules.jobs import EventBus, Job, Jobs, JobState, JobStore, Supervisor, WorkerProcess
from modules.params import Img2ImgRequest, Txt2ImgRequest
from tests.killing import kill_at_the_first_picture

from .conftest import ROOT

TINY = {"width": 64, "height": 64, "seed": 3}


def until(claim: Callable[[], object], seconds: float = 300.0) -> None:
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def asked(jobs: Jobs, script: str) -> Txt2ImgRequest | Img2ImgRequest:
    """Three pictures: from words, or each out of four tiles."""
    if not script:
        return Txt2ImgRequest(prompt="a cat", steps=25, n_iter=3, **TINY)
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 50).convert("RGB").save(buffer, "PNG")
    started = {"init_images": (jobs.add_input(buffer.getvalue()),), "denoising_strength": 0.4}
    upscale = {"script": script, "sd_upscale_scale": 1.25, "sd_upscale_overlap": 16}
    return Img2ImgRequest.model_validate({"steps": 15, "n_iter": 3, **TINY, **started, **upscale})


def done(jobs: Jobs, job: Job) -> Job:
    return jobs.wait(job.id, 300)


def test_the_whole_way_of_a_job(jobs: Jobs) -> None:
    first = jobs.submit(Txt2ImgRequest(prompt="a cat", steps=2, **TINY))
    long = jobs.submit(Txt2ImgRequest(prompt="a cat", steps=5000, n_iter=2, **TINY))
    wrong = jobs.submit(Txt2ImgRequest(override_settings={"sd_model_checkpoint": "nothing"}, **TINY))

    over = done(jobs, first)
    assert over.state is JobState.DONE, over.error
    assert over.pictures[0].path.is_file()
    assert jobs.worker.device

    until(lambda: (progress := jobs.get(long.id).progress) and progress.step > 2)
    assert jobs.preview(long.id)
    began = time.monotonic()
    jobs.interrupt(long.id)
    assert done(jobs, long).state is JobState.INTERRUPTED
    assert time.monotonic() - began < 30, "it does not finish the picture under way, which takes a minute"

    assert 'Checkpoint "nothing" is unknown' in (done(jobs, wrong).error or "")


@pytest.mark.slow  # by default it is held end to end alone
@pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")
@pytest.mark.parametrize("script", ["", "SD upscale"])
def test_a_killed_worker_is_replaced_and_the_pictures_are_those_of_an_undisturbed_job(
    jobs: Jobs, supervisor: Supervisor, script: str
) -> None:
    until(lambda: jobs.worker.state == "ready")
    (pid,) = supervisor.pids
    assert pid
    kill_at_the_first_picture(supervisor, pid)
    request = asked(jobs, script)
    disturbed = done(jobs, jobs.submit(request))
    assert disturbed.state is JobState.DONE, disturbed.error
    assert disturbed.attempts == 2
    undisturbed = done(jobs, jobs.submit(request))
    pictures = [[picture.path.read_bytes() for picture in one.pictures] for one in (disturbed, undisturbed)]
    assert len(pictures[0]) == 3
    assert pictures[0] == pictures[1]


@pytest.mark.slow
def test_a_device_that_is_not_there_is_named(folders: Folders) -> None:
    store = JobStore(None)
    bus = EventBus(store.events_after)
    store.announce = bus.publish
    command = worker_command(EngineConfig(folders=folders, device="xpu"))
    jobs = Jobs(store, bus, Supervisor(store, bus, [partial(WorkerProcess, command, cwd=ROOT)]))
    job = jobs.submit(Txt2ImgRequest(**TINY))
    jobs.start()
    try:
        over = done(jobs, job)
        assert over.state is JobState.FAILED
        assert "Device xpu is not there" in (over.error or "")
        assert "--device" in jobs.worker.message
    finally:
        jobs.close()
