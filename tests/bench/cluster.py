"""Pictures per second on a Ray cluster of two nodes on this machine, against one node, a thread each.

    python tests/bench/cluster.py [--pictures 24] [--steps 20] [--rounds 3]

Both nodes are this machine's (ray.cluster_utils) with a processor each. A round makes the same job of the built-in
model with one worker and then with two, in batches of one picture; both are warmed up before, and their files are
compared byte for byte. Beside the seconds that passed stand the processor's seconds of the busiest engine: on a machine
that does other things as well, where two workers cannot have a core each, pictures by those tell what cores of their
own would give. Figures are medians over the rounds. Run it on two quiet cores.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from ray.cluster_utils import Cluster

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from modules.catalogue import Folders  # noqa: E402
from modules.cluster import ray_spawns  # noqa: E402
from modules.engine.config import EngineConfig  # noqa: E402
from modules.engine.saved import SavedPictures  # noqa: E402
from modules.jobs import EventBus, Job, Jobs, JobState, JobStore, Supervisor  # noqa: E402
from modules.params import Txt2ImgRequest  # noqa: E402

PATIENCE = 300.0


@dataclass(frozen=True)
class Figures:
    """Seconds that a job took: that passed, and of each engine's processor; and the files it made."""

    seconds: float
    engines: tuple[float, ...]
    files: tuple[bytes, ...]


def main() -> None:
    """Measure and write a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pictures", type=int, default=24)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    request = Txt2ImgRequest(prompt="a red apple", seed=1, steps=options.steps, n_iter=options.pictures)
    with tempfile.TemporaryDirectory() as folder, cluster(Path(folder) / "cache") as address:
        rounds = [
            (measure(address, Path(folder), 1, request), measure(address, Path(folder), 2, request))
            for _ in range(options.rounds)
        ]
    write(rounds, options.pictures)


@contextmanager
def cluster(cache: Path) -> Iterator[str]:
    """The address of two nodes with a processor each."""
    os.environ["TAGBRUSH_NODE_CACHE"] = str(cache)
    node = {"num_cpus": 1, "object_store_memory": 200 * 2**20}
    running = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    try:
        running.add_node(**node)
        yield running.address
    finally:
        running.shutdown()


@contextmanager
def queue(address: str, data: Path, workers: int) -> Iterator[Jobs]:
    """A warm queue with so many workers of a thread each."""
    folders = Folders.from_args(shipped=ROOT, data_dir=data)
    store = JobStore(None)
    bus = EventBus(store.events_after)
    store.announce = bus.publish
    spawns = ray_spawns(address, EngineConfig(folders=folders, device="cpu"))[:workers]
    supervisor = Supervisor(store, bus, spawns, files=SavedPictures(folders))
    jobs = Jobs(store, bus, supervisor)
    jobs.start()
    try:
        deadline = time.monotonic() + PATIENCE
        while not all(status.state == "ready" for status in supervisor.statuses):
            if time.monotonic() > deadline:
                raise SystemExit(f"The workers did not start: {supervisor.statuses}")
            time.sleep(0.1)
        finished(jobs, Txt2ImgRequest(prompt="warm", seed=1, steps=2, n_iter=4 * workers))
        yield jobs
    finally:
        jobs.close()


def finished(jobs: Jobs, request: Txt2ImgRequest) -> Job:
    job = jobs.wait(jobs.submit(request).id, PATIENCE)
    if job.state is not JobState.DONE:
        raise SystemExit(f"The job is {job.state}: {job.error}")
    return job


def measure(address: str, folder: Path, workers: int, request: Txt2ImgRequest) -> Figures:
    """What one job takes with so many workers."""
    with queue(address, folder, workers) as jobs:
        before, began = engine_seconds(), time.perf_counter()
        job = finished(jobs, request)
        seconds, after = time.perf_counter() - began, engine_seconds()
        pictures = sorted(job.pictures, key=lambda picture: picture.index)
        files = tuple(picture.path.read_bytes() for picture in pictures)
    spent = sorted((after[pid] - before.get(pid, 0.0) for pid in after), reverse=True)
    return Figures(seconds, tuple(spent), files)


def engine_seconds() -> dict[int, float]:
    """The processor's seconds of every engine on this machine's nodes, by process."""
    spent = {}
    for process in psutil.process_iter(["pid", "cmdline"]):
        command = " ".join(process.info["cmdline"] or ())
        if "-m modules.engine" in command and os.environ["TAGBRUSH_NODE_CACHE"] in command:
            times = process.cpu_times()
            spent[process.pid] = times.user + times.system
    return spent


def write(rounds: list[tuple[Figures, Figures]], pictures: int) -> None:
    """The table for RESULTS.md."""
    same = all(one.files == two.files for one, two in rounds)
    rates = [(pictures / one.seconds, pictures / two.seconds) for one, two in rounds]
    busiest = [(pictures / one.engines[0], pictures / two.engines[0]) for one, two in rounds]
    lines = ["| pictures per second | one node | two nodes | times |", "|---|---|---|---|"]
    for name, figures in (("that passed", rates), ("of the busiest engine's processor", busiest)):
        one, two = (statistics.median(column) for column in zip(*figures, strict=True))
        times = statistics.median(after / before for before, after in figures)
        lines.append(f"| {name} | {one:.2f} | {two:.2f} | {times:.2f} |")
    lines.append(f"\nFiles of both: {'identical' if same else 'NOT the same'}.")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
