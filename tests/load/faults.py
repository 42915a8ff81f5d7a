"""What is done to a server under load, drawn from the seed: kills, a full disk, a locked queue file."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

import httpx
import psutil

from .ledger import Course, Ledger
from .run import Plan
from .server import Server, ServerFailed

DISK_SIZE = "1g"
FULL_FOR = (2.0, 8.0)
LOCKED_FOR = (1.0, 5.0)
"""Seconds; the worker tries for twenty to save a picture."""

ACTIVE = ("running", "queued")
LONGEST_LULL = 300.0
BETWEEN_FAULTS = (5.0, 15.0)
SHARED_QUEUE = "from tests.load.queue_file import share; share(); "
"""Run in the server before it starts."""


class NoDisk(SystemExit):
    """There is no file system that may be filled."""


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A folder on a file system of its own; one that exists already is taken as it is. Raises NoDisk."""
    if folder.is_dir():
        yield folder
        return
    if os.geteuid() != 0:
        _become_root_of_a_namespace()
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_SIZE}", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False).returncode != 0:
        raise NoDisk("No file system can be mounted here. Give a folder on a small one with --disk.")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _become_root_of_a_namespace() -> None:
    """Start this script anew where it may mount; what it wrote before is left as it is. Raises NoDisk."""
    program = shutil.which("unshare")
    if program is None:
        raise NoDisk("Only root can mount a file system here. Give a folder on a small one with --disk.")
    os.execv(program, [program, "--user", "--map-root-user", "--mount", sys.executable, *sys.argv])


class Harm:
    """Faults at random until the run ends; `tell` is told of each."""

    def __init__(self, server: Server, plan: Plan, disk: Path, tell: Callable[[str], object]) -> None:
        self._server, self._plan, self._disk, self._tell = server, plan, disk, tell
        self._random = Random(f"{plan.seed} faults")

    async def __call__(self, ledger: Ledger, course: Course) -> None:
        """Do harm until the course is over."""
        lasting = [self.fill_the_disk, self.lock_the_queue_file]
        deadly = [self.kill_the_worker, self.kill_the_server]
        began = time.monotonic()
        halfway = (began + course.until) / 2
        # Each of them at least once, however short the run is.
        first: list[Callable[[], Awaitable[None]]] = self._random.sample([*lasting, *deadly], 4)
        while not course.is_over:
            now = time.monotonic()
            fault = first.pop() if first else self._random.choice([*lasting, *(deadly if now < halfway else ())])
            name = fault.__name__.replace("_", " ")
            ledger.counts[name] += 1
            self._tell(f"{now - began:5.0f} s: {name}")
            await fault()
            course.has_faults_to_come = bool(first)
            pause = self._random.uniform(*BETWEEN_FAULTS)
            await asyncio.sleep(1 if first else min(pause, max(0.0, course.until - time.monotonic())))

    async def kill_the_worker(self) -> None:
        """Kill a worker that has a job, and has not been killed over it before."""
        await self._strike()
        for worker in self._server.workers():
            with suppress(psutil.NoSuchProcess):
                worker.kill()

    async def kill_the_server(self) -> None:
        """Kill the server, and start it again."""
        await self._strike()
        await self._server.kill()
        await asyncio.sleep(self._random.uniform(0, 2))
        await self._server.start()

    async def fill_the_disk(self) -> None:
        """Leave no byte on the disk for some seconds."""
        filler = self._disk / "filler"
        try:
            await asyncio.to_thread(_fill, filler)
            await asyncio.sleep(self._random.uniform(*FULL_FOR))
        finally:
            filler.unlink(missing_ok=True)

    async def lock_the_queue_file(self) -> None:
        """Hold the queue file's lock for some seconds, as another program would."""
        seconds = self._random.uniform(*LOCKED_FOR)
        await asyncio.to_thread(_lock, self._server.data / "tagbrush.db", seconds)

    async def _strike(self) -> None:
        """Wait until a job runs, and none is about that has lost an attempt already: at the second it rightly fails.

        Raises ServerFailed where that does not come.
        """
        deadline = time.monotonic() + LONGEST_LULL
        async with httpx.AsyncClient(base_url=self._server.url, timeout=60) as http:
            while time.monotonic() < deadline:
                with suppress(httpx.HTTPError, ValueError):
                    jobs = (await http.get("/tagbrush/v1/jobs?limit=300")).json()
                    attempts = {state: [job["attempts"] for job in jobs if job["state"] == state] for state in ACTIVE}
                    if attempts["running"] and max(attempts["running"]) == 1 and not any(attempts["queued"]):
                        return
                await asyncio.sleep(0.1)
        raise ServerFailed(
            f"No job ran within {LONGEST_LULL:.0f} s. The server printed last:\n{self._server.printed()}"
        )


def _fill(path: Path) -> None:
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))


def _lock(path: Path, seconds: float) -> None:
    db = sqlite3.connect(path, timeout=30, isolation_level=None)
    try:
        db.execute("BEGIN EXCLUSIVE")
        time.sleep(seconds)
        db.execute("ROLLBACK")
    finally:
        db.close()
