"""A crowd for half a minute, at peace and with everything failing: no picture is lost or doubled, no job is stuck."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.load.faults import SHARED_QUEUE, Harm
from tests.load.run import Outcome, Plan, drive
from tests.load.server import Server

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")]

PLAN = Plan(clients=6, seconds=20, seed=3, measures=False)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a small file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", str(folder)]
    if not shutil.which("mount") or os.geteuid() != 0 or subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def driven(server: Server, plan: Plan, harm: Harm | None = None) -> Outcome:
    try:
        return asyncio.run(drive(server, plan, harm))
    finally:
        server.close()


def test_many_clients_lose_and_double_nothing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    server = Server(data, ["--nowebui", "--device", "cpu"], log=tmp_path / "server.log")
    outcome = driven(server, PLAN)
    assert outcome.wrong == []
    assert sum(len(job["pictures"]) for job in outcome.jobs) > 0
    assert server.workers() == []


def test_whatever_fails_nothing_is_lost_or_doubled(tmp_path: Path, disk: Path) -> None:
    """Worker and server are killed, the disk is full, the queue file is locked, each at least once."""
    data = disk / "data"
    data.mkdir()
    server = Server(data, ["--nowebui", "--device", "cpu"], log=tmp_path / "server.log", prelude=SHARED_QUEUE)
    plan = Plan(clients=6, seconds=30, seed=3, measures=False, endures=True)
    faults: list[str] = []
    outcome = driven(server, plan, Harm(server, plan, disk, faults.append))
    assert outcome.wrong == []
    assert outcome.starts >= 2
    for fault in ("kill the worker", "kill the server", "fill the disk", "lock the queue file"):
        assert outcome.ledger.counts[fault] >= 1, faults
