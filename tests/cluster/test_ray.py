"""A real cluster of two nodes on this machine, with the server's files out of their sight."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from modules.catalogue import Folders
from modules.cluster.config import RelayConfig, relay_command
from modules.cluster.slots import NoCluster, NodeOffer, Slot
from modules.cluster.spawns import ask
from modules.engine.config import EngineConfig, worker_command
from modules.engine.saved import SavedPictures
from modules.jobs import EventBus, Job, Jobs, JobState, JobStore, Supervisor, WorkerProcess
from modules.jobs.worker import Spawn
from modules.params import Txt2ImgRequest
from tests.killing import kill_at_the_first_picture

from .conftest import GOLDEN, ROOT

pytest.importorskip("ray", reason="Ray is not installed; it is in the extra `test`")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"),
]

ADDRESS_OF_NOBODY = "127.0.0.1:1"
HERE = Path("/proc/self/cwd")
"""Every process's own folder: files below it are another process's only if that runs in the same one."""


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("caches")
    return folder / "first", folder / "second"


@pytest.fixture(scope="module")
def address(caches: tuple[Path, Path]) -> Iterator[str]:
    """Where two nodes with a processor each, and a cache each, can be joined."""
    from ray.cluster_utils import Cluster

    options = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
    first, second = ({"TAGBRUSH_NODE_CACHE": str(cache)} for cache in caches)
    cluster = Cluster(initialize_head=True, head_node_args={**options, "include_dashboard": False, "env_vars": first})
    try:
        cluster.add_node(**options, env_vars=second)
        yield cluster.address
    finally:
        cluster.shutdown()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a server with the reference model, which it alone calls /proc/self/cwd."""
    server = tmp_path_factory.mktemp("server")
    shutil.copytree(GOLDEN / "model", server / "models" / "Stable-diffusion")
    shutil.copytree(GOLDEN / "lora", server / "models" / "Lora")
    return server


@pytest.fixture(autouse=True)
def _among_the_servers_files(address: str, server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(server)


@contextmanager
def working(folders: Folders, spawns: list[Spawn]) -> Iterator[tuple[Jobs, Supervisor]]:
    """A queue with these workers."""
    store = JobStore(None)
    bus = EventBus(store.events_after)
    store.announce = bus.publish
    supervisor = Supervisor(store, bus, spawns, files=SavedPictures(folders))
    jobs = Jobs(store, bus, supervisor)
    jobs.start()
    try:
        until(lambda: all(status.state == "ready" for status in supervisor.statuses), lambda: supervisor.statuses)
        yield jobs, supervisor
    finally:
        jobs.close()


@contextmanager
def far(address: str, server: Path, workers: int = 2) -> Iterator[tuple[Jobs, Supervisor]]:
    """A queue whose workers are on the cluster's nodes, which see nothing of the server's."""
    folders = Folders.from_args(shipped=HERE)
    engine = EngineConfig(folders=folders, device="cpu")
    config = RelayConfig(address=address, slot=Slot(cpus=1), engine=engine)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    spawn = partial(WorkerProcess, relay_command(config), cwd=server, env=env)
    with working(folders, [spawn] * workers) as both:
        yield both


@contextmanager
def near(server: Path) -> Iterator[tuple[Jobs, Supervisor]]:
    """A queue with one worker of the usual sort."""
    folders = Folders.from_args(shipped=server)
    command = worker_command(EngineConfig(folders=folders, device="cpu"))
    spawn = partial(WorkerProcess, command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"})
    with working(folders, [spawn]) as both:
        yield both


def until(claim: Callable[[], object], tell: Callable[[], object] = str, seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline, f"did not happen in time: {tell()}"
        time.sleep(0.02)


def request(**changes: Any) -> Txt2ImgRequest:
    fields = {"prompt": "a cat <lora:locon:0.8>", "seed": 3, "steps": 4, "width": 64, "height": 64, "n_iter": 4}
    return Txt2ImgRequest(**{**fields, **changes})


def finished(jobs: Jobs, job: Job) -> Job:
    over = jobs.wait(job.id, 180)
    assert over.state is JobState.DONE, over.error
    return over


def contents(job: Job) -> list[bytes]:
    """The job's files in order."""
    return [picture.path.read_bytes() for picture in sorted(job.pictures, key=lambda each: each.index)]


def test_the_pictures_of_two_nodes_are_those_of_one_worker_here(
    address: str, caches: tuple[Path, Path], server: Path
) -> None:
    with near(server) as (jobs, _):
        expected = finished(jobs, jobs.submit(request()))
    with far(address, server) as (jobs, supervisor):
        made = finished(jobs, jobs.submit(request()))
        assert not made.notices
        assert {status.device.partition(" on ")[0] for status in supervisor.statuses} == {"CPU"}
    assert len(made.pictures) == 4
    assert contents(made) == contents(expected)
    checkpoint = next((server / "models" / "Stable-diffusion").glob("*.safetensors"))
    for cache in caches:
        sizes = [path.stat().st_size for path in (cache / "files").iterdir()]
        assert sizes.count(checkpoint.stat().st_size) == 1, "both nodes have it, once"
        assert not list((cache / "workers").iterdir()), "and nothing else is left"


@pytest.mark.parametrize("who", ["engine", "relay", "actor"])
def test_whoever_is_killed_the_pictures_are_those_of_an_undisturbed_job(
    address: str, server: Path, caches: tuple[Path, Path], who: str
) -> None:
    with far(address, server, workers=1) as (jobs, supervisor):
        kill_at_the_first_picture(supervisor, victim(who, supervisor, caches))
        disturbed = finished(jobs, jobs.submit(request(steps=30, n_iter=3)))
        assert disturbed.attempts == 2
        assert any("started again" in notice for notice in disturbed.notices)
        undisturbed = finished(jobs, jobs.submit(request(steps=30, n_iter=3)))
    assert len(disturbed.pictures) == 3
    assert contents(disturbed) == contents(undisturbed)
    until(lambda: not engines(caches), lambda: engines(caches))


def engines(caches: tuple[Path, Path]) -> list[psutil.Process]:
    """The engine processes of both nodes."""
    found = []
    for process in psutil.process_iter():
        try:
            command = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if "modules.engine" in command and str(caches[0].parent) in command:
            found.append(process)
    return found


def victim(who: str, supervisor: Supervisor, caches: tuple[Path, Path]) -> int:
    if who == "relay":
        (pid,) = supervisor.pids
        assert pid
        return pid
    until(lambda: len(engines(caches)) == 1, lambda: engines(caches))  # that of the test before may still be ending
    [engine] = engines(caches)
    return engine.pid if who == "engine" else engine.ppid()


def test_the_inventory_tells_what_the_nodes_offer(address: str) -> None:
    offers = ask(address)
    assert [(offer.cpus, offer.gpus) for offer in offers] == [(1.0, 0.0)] * 2
    assert all(isinstance(offer, NodeOffer) and offer.name for offer in offers)


def test_an_address_where_no_cluster_is_is_refused_in_words() -> None:
    with pytest.raises(NoCluster, match="ray start"):
        ask(ADDRESS_OF_NOBODY)
