"""The whole program, its worker or both killed while a picture is saved: the same files as if nothing had been."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.serving import ROOT, START, serve

from .conftest import Program, program
from .files import furnish

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")]

WORKER = Path(__file__).with_name("mortal_worker.py")
THREE = {"seed": 5, "steps": 4, "n_iter": 3}


@contextmanager
def mortal(data: Path, point: str, whom: str) -> Iterator[Program]:
    """The program, with a worker that dies for once."""
    start = (
        "import os; from modules.app import assemble; real = assemble.worker_command; "
        f"os.environ['PYTHONPATH'] = {str(ROOT)!r}; "
        "assemble.worker_command = lambda config: "
        f"[real(config)[0], {str(WORKER)!r}, {point!r}, {whom!r}, {str(data / 'died')!r}, *real(config)[3:]]; "
    )
    server = serve(data, "--nowebui", start=start + START)
    with server as served, httpx.Client(base_url=served.url, timeout=180) as http:
        running = Program(served, http)
        assert running.post("/sdapi/v1/options", sd_model_checkpoint="tiny_sd1").status_code == 200
        yield running


def pictures(data: Path) -> list[bytes]:
    """What lies in the outputs, whatever it is called."""
    return [path.read_bytes() for path in sorted((data / "outputs").rglob("*")) if path.is_file()]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    data = tmp_path_factory.mktemp("undisturbed") / "data"
    furnish(data)
    with program(data, "--nowebui") as running:
        running.make(**THREE)
    return pictures(data)


@pytest.mark.parametrize("whom", ["worker", "server"])
@pytest.mark.parametrize("point", ["half-written", "synced", "renamed", "saved", "told"])
def test_a_killed_program_ends_with_the_files_of_an_undisturbed_one(
    tmp_path: Path, undisturbed: list[bytes], point: str, whom: str
) -> None:
    data = tmp_path / "data"
    furnish(data)
    with mortal(data, point, whom) as first:
        job_id = first.submit(**THREE)
        if whom == "worker":
            job = first.end(job_id)
            assert job["attempts"] == 2
        else:
            first.until(lambda: first.served.process.poll() is not None)
    if whom == "server":
        with program(data, "--nowebui") as second:
            job = second.end(job_id)
    assert (data / "died").exists()
    assert job["state"] == "done", job["error"]
    assert [(picture["index"], picture["seed"]) for picture in job["pictures"]] == [(0, 5), (1, 6), (2, 7)]
    assert pictures(data) == undisturbed
