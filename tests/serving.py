"""The whole program as a person runs it: a server process of its own, and a real Chromium to look at it."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "data" / "golden"
START = "import sys; from modules.app.cli import main; sys.exit(main(sys.argv[1:]))"
CHROMIUM_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")


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

    def wait_for(self, what: str, seconds: float = 90) -> None:
        """Wait until the status says `what`: "page" or "worker"."""
        deadline = time.monotonic() + seconds
        while True:
            status = self.get("/tagbrush/v1/status")
            if status["ui"] == "ready" if what == "page" else status["worker"]["state"] in ("ready", "busy"):
                return
            assert time.monotonic() < deadline, f"{what} not ready after {seconds} s: {status}"
            time.sleep(0.1)


@contextmanager
def serve(data: Path, *arguments: str, start: str = START) -> Iterator[Served]:
    """A server of this checkout on a free port, with `data` as its data folder (its last argument)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", start, "--no-browser", "--port", str(port), *arguments, "--data-dir", str(data)]
    with (data / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
    served = Served(f"http://127.0.0.1:{port}", data, process)
    try:
        _until_it_answers(served)
        yield served
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _until_it_answers(served: Served) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            served.get("/tagbrush/v1/status")
        except OSError:
            log = (served.data / "server.log").read_text(encoding="utf-8", errors="replace")
            assert served.process.poll() is None, f"the server ended: {log}"
            time.sleep(0.1)
        else:
            return
    raise AssertionError("the server did not answer within a minute")


def chromium() -> str:
    """The browser's program; skips the test where there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        if found := shutil.which(name):
            return found
    pytest.skip("no Chromium on this machine (Debian: apt install chromium)")
