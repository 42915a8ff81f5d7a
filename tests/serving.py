"""The whole program as a person runs it: a server process of its own."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "data" / "golden"
TRIES, LONGEST_START = 3, 180.0
START = "import sys; from modules.app.cli import main; sys.exit(main(sys.argv[1:]))"
WITHOUT_ENGINE = """
import sys
from modules.app import assemble, cli
assemble.worker_command = lambda config: [sys.executable, "-c", "import sys; sys.stdin.read()"]
sys.exit(cli.main(sys.argv[1:]))
"""
"""A start for tests that need no picture: the worker never is ready, and loads nothing."""


@dataclass(frozen=True)
class Served:
    """A running server, its data folder, and how to ask it things."""

    url: str
    data: Path
    process: subprocess.Popen[bytes]

    def get(self, path: str) -> Any:
        return json.loads(self.read(path))

    def read(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=60) as response:
            return response.read()

    def post(self, path: str, body: Any) -> Any:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=120) as response:
            return json.load(response)

    def printed(self) -> str:
        """What the server has printed."""
        return (self.data / "server.log").read_text(encoding="utf-8", errors="replace")

    def wait_for(self, what: str, seconds: float = 180) -> None:
        """Wait until the status says `what`: "page" or "worker"."""
        deadline = time.monotonic() + seconds
        while True:
            status = self.get("/tagbrush/v1/status")
            if status["ui"] == "ready" if what == "page" else status["worker"]["state"] in ("ready", "busy"):
                return
            given_up = status["ui"] == "failed" if what == "page" else status["worker"]["state"] == "dead"
            assert not given_up, status
            assert time.monotonic() < deadline, f"{what} not ready after {seconds} s: {status}"
            time.sleep(0.1)


@contextmanager
def serve(data: Path, *arguments: str, start: str = START) -> Iterator[Served]:
    """A server of this checkout on a free port, with `data` as its data folder (its last argument)."""
    served = _started(data, arguments, start)
    try:
        yield served
    finally:
        _end(served.process)


def _started(data: Path, arguments: Sequence[str], start: str) -> Served:
    """A server that answers; another port is tried where somebody took the one that was free a moment ago."""
    for _ in range(TRIES):
        port = free_port()
        address = ("--no-browser", "--port", str(port))
        command = [sys.executable, "-c", start, *address, *arguments, "--data-dir", str(data)]
        with (data / "server.log").open("wb") as log:
            process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
        served = Served(f"http://127.0.0.1:{port}", data, process)
        try:
            if _answers(served):
                return served
        except BaseException:
            _end(process)
            raise
        if f"Port {port} is in use" not in served.printed():
            break
    raise AssertionError(f"the server ended: {served.printed()}")


def _answers(served: Served) -> bool:
    """Whether it did at last; False where it ended."""
    deadline = time.monotonic() + LONGEST_START
    while served.process.poll() is None:
        assert time.monotonic() < deadline, f"the server does not answer: {served.printed()}"
        with suppress(OSError):
            served.get("/tagbrush/v1/status")
            if served.process.poll() is None:  # else it was another's server
                return True
        time.sleep(0.1)
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    """One that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
