"""A queue with a scripted worker behind it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from modules.engine.saved import SavedPictures
from modules.jobs import EventBus, Job, Jobs, JobStore, Patience, Spawn, Supervisor, WorkerProcess
from modules.params import Settings, Txt2ImgRequest

from .mortal import folders_of, pictures_in
from .thread_worker import ThreadWorker

ROOT = Path(__file__).parents[2]
SECONDS = 120.0


@dataclass
class Bench:
    """A started queue; `folder` is where the fake worker leaves its traces."""

    jobs: Jobs
    store: JobStore
    bus: EventBus
    supervisor: Supervisor
    folder: Path

    def submit(self, prompt: str, **fields: object) -> Job:
        return self.jobs.submit(Txt2ImgRequest(prompt=prompt, **{"n_iter": pictures_in(prompt), **fields}))

    def done(self, job: Job) -> Job:
        over = self.jobs.wait(job.id, SECONDS)
        assert over.state.is_final, over
        return over

    def made(self) -> list[tuple[int, str, int]]:
        """What workers began to save: process, job and number of each picture; see `spread.py`."""
        file = self.folder / "made"
        rows = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
        return [(int(pid), job_id, int(number)) for pid, job_id, number in rows]

    def worker_pids(self) -> list[int]:
        starts = self.folder / "starts"
        return [int(line) for line in starts.read_text().split()] if starts.exists() else []


MakeBench = Callable[..., Bench]


def fake_worker(behaviour: str, folder: Path) -> Spawn:
    """What starts a worker of this behaviour, which leaves its traces in the folder."""
    if behaviour == "thread":
        return partial(ThreadWorker, folder)
    command = [sys.executable, str(Path(__file__).with_name("fake_worker.py")), behaviour, str(folder)]
    return partial(WorkerProcess, command, env={**os.environ, "PYTHONPATH": str(ROOT)})


@pytest.fixture
def make_bench(tmp_path: Path) -> Iterator[MakeBench]:
    benches: list[Bench] = []

    # `behaviour` names that of each worker; those called "thread" are good ones in this process.
    def make(behaviour: str = "good", *, start: bool = True, file: str | None = None, **patience: float) -> Bench:
        store = JobStore(tmp_path / file if file else None)
        bus = EventBus(store.events_after, store.last_event_id())
        store.announce = bus.publish
        spawns = [fake_worker(name, tmp_path) for name in behaviour.split(",")]
        limits = Patience(**{"first_delay": 0.01, "to_stop": 0.2, "to_write": 0.02, **patience})
        files = SavedPictures(folders_of(tmp_path))
        supervisor = Supervisor(store, bus, spawns, settings=Settings, files=files, patience=limits)
        bench = Bench(Jobs(store, bus, supervisor), store, bus, supervisor, tmp_path)
        benches.append(bench)
        if start:
            bench.jobs.start()
        return bench

    yield make
    for bench in benches:
        bench.jobs.close()


@pytest.fixture
def bench(make_bench: MakeBench) -> Bench:
    return make_bench()
