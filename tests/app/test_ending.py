"""A server that a program stops and starts over HTTP, in a process of its own."""

from __future__ import annotations

import time
from pathlib import Path

from tests.serving import WITHOUT_ENGINE, Served, serve

READY = "Tagbrush's API is ready"


def test_a_program_restarts_and_stops_the_server(tmp_path: Path) -> None:  # A012
    with serve(tmp_path, "--nowebui", "--api-server-stop", "--device", "cpu", start=WITHOUT_ENGINE) as served:
        served.post("/sdapi/v1/options", {"send_seed": False})
        assert served.post("/sdapi/v1/server-restart", {}) == {"detail": "Restarting."}
        wait_for_start(served, 2)
        assert served.get("/sdapi/v1/options")["send_seed"] is False
        assert served.post("/sdapi/v1/server-stop", {}) == {"detail": "Stopping."}
        assert served.process.wait(60) == 0


def wait_for_start(served: Served, number: int) -> None:
    deadline = time.monotonic() + 180
    while (log := (served.data / "server.log").read_text(encoding="utf-8")).count(READY) < number:
        assert time.monotonic() < deadline, log
        assert served.process.poll() is None, log
        time.sleep(0.05)
