"""What is measured from outside: how long status calls take, and how much memory the processes hold."""

from __future__ import annotations

import asyncio
import http.client
import json
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import psutil

from .server import ROOT, Server

BETWEEN_SAMPLES = 2.0
BETWEEN_CALLS = 0.05
MIB = 2**20
JOB = "/tagbrush/v1/jobs/{id}"
PATHS = ("/tagbrush/v1/status", "/sdapi/v1/progress", JOB)


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a process: its age in seconds, and bytes that it holds."""

    age: float
    rss: int
    pss: int
    uss: int
    threads: int
    files: int


@dataclass(slots=True)
class Life:
    """The samples of one process, the server or its worker."""

    role: str
    pid: int
    samples: list[Sample] = field(default_factory=list)

    def growth(self, what: str, warm_up: float) -> float | None:
        """By how much it grew after the warm-up: the median of the last quarter of its samples over that of the first.

        None where there are too few of them to tell.
        """
        values = [getattr(sample, what) for sample in self.samples if sample.age >= warm_up]
        if len(values) < 8:
            return None
        quarter = len(values) // 4
        return statistics.median(values[-quarter:]) / statistics.median(values[:quarter]) - 1

    def level(self, what: str) -> float:
        """The median of its last quarter, in MiB."""
        values = [getattr(sample, what) for sample in self.samples]
        return statistics.median(values[-max(1, len(values) // 4) :]) / MIB


async def watch_memory(server: Server, lives: dict[int, Life]) -> None:
    """Fill `lives`, by process id, until cancelled."""
    while True:
        for role, pid in [("server", server.pid), *(("worker", worker.pid) for worker in server.workers())]:
            if pid is not None:
                with suppress(psutil.Error):
                    sample = await asyncio.to_thread(_sample, pid)
                    lives.setdefault(pid, Life(role, pid)).samples.append(sample)
        await asyncio.sleep(BETWEEN_SAMPLES)


def _sample(pid: int) -> Sample:
    process = psutil.Process(pid)
    memory = process.memory_full_info()
    return Sample(
        age=time.time() - process.create_time(),
        rss=memory.rss,
        pss=memory.pss,
        uss=memory.uss,
        threads=process.num_threads(),
        files=process.num_fds(),
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of the values do not exceed; nan of none."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else float("nan")


class Probe:
    """A process of its own that makes status calls at a steady pace, so that the clients' own work does not count."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._process: asyncio.subprocess.Process | None = None
        self._read: asyncio.Task[None] | None = None
        self.seconds: dict[str, list[float]] = {path: [] for path in PATHS}

    async def start(self) -> None:
        code = f"from tests.load.watch import probe; probe({self._url!r})"
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        self._read = asyncio.create_task(self._collect())

    async def _collect(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            path, seconds = line.decode().split()
            self.seconds[path].append(float(seconds))

    async def stop(self) -> None:
        if self._process is not None and self._read is not None:
            with suppress(ProcessLookupError):
                self._process.terminate()
            await self._process.wait()
            await self._read


def probe(url: str) -> None:
    """Call and print, until ended, each call's path and seconds; only those made while a job runs."""
    place = urlsplit(url)
    line = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
    number = 0
    job = ""
    while True:
        time.sleep(BETWEEN_CALLS)
        number += 1
        path = PATHS[number % len(PATHS)]
        try:
            if number % 20 == 1:
                newest = _get(line, "/tagbrush/v1/jobs?limit=1")
                job = newest[0]["id"] if newest else ""
            is_busy = _get(line, "/tagbrush/v1/status")["worker"]["state"] == "busy"
            began = time.perf_counter()
            _get(line, path.format(id=job))
            if is_busy and job:
                sys.stdout.write(f"{path} {time.perf_counter() - began:.6f}\n")
                sys.stdout.flush()
        except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
            line.close()  # the server is away; the line opens itself again
            time.sleep(0.5)


def _get(line: http.client.HTTPConnection, path: str) -> Any:
    line.request("GET", path)
    return json.loads(line.getresponse().read())
