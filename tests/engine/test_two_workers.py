"""Two real workers make the pictures that one makes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import partial

import pytest

from modules.catalogue import Folders
from modules.engine.config import EngineConfig, worker_command
from modules.engine.saved import SavedPictures
from modules.jobs import EventBus, Job, Jobs, JobState, JobStore, Supervisor, WorkerProcess
from modules.params import Txt2ImgRequest

from .conftest import ROOT
from .test_worker import TINY, done, kill_at_the_first_picture, until


@pytest.fixture
def pair(folders: Folders) -> Iterator[tuple[Jobs, Supervisor]]:
    """A started queue with two worker processes of one thread each."""
    store = JobStore(folders.database)
    bus = EventBus(store.events_after, store.last_event_id())
    store.announce = bus.publish
    command = worker_command(EngineConfig(folders=folders, device="cpu"))
    spawn = partial(WorkerProcess, command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"})
    supervisor = Supervisor(store, bus, [spawn, spawn], files=SavedPictures(folders))
    jobs = Jobs(store, bus, supervisor)
    jobs.start()
    until(lambda: [worker.state for worker in jobs.workers] == ["ready", "ready"])
    yield jobs, supervisor
    jobs.close()


def files(job: Job) -> list[bytes]:
    assert job.state is JobState.DONE, job.error
    return [picture.path.read_bytes() for picture in job.pictures]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")
def test_a_spread_job_gives_the_files_of_one_worker_though_one_of_two_is_killed(pair: tuple[Jobs, Supervisor]) -> None:
    jobs, supervisor = pair
    request = Txt2ImgRequest(prompt="a cat <lora:locon:0.8>", steps=20, n_iter=6, batch_size=2, **TINY)
    alone = files(done(jobs, jobs.submit(request.model_copy(update={"override_settings": {"spread_images": False}}))))

    both = jobs.submit(request)
    until(lambda: {worker.job_id for worker in jobs.workers} == {both.id})
    spread = done(jobs, both)
    assert files(spread) == alone
    assert [picture.seed for picture in spread.pictures] == list(range(3, 15))

    _, pid = supervisor.pids
    assert pid
    kill_at_the_first_picture(supervisor, pid)
    disturbed = done(jobs, jobs.submit(request))
    assert disturbed.attempts <= 2
    assert files(disturbed) == alone
