"""The server under load: a process of its own, which may be killed and started again on the same port and folder."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import httpx
import psutil

ROOT = Path(__file__).resolve().parents[2]
START = "import sys; from modules.app.cli import main; sys.exit(main(sys.argv[1:]))"
LONGEST_START = 180.0


class ServerFailed(Exception):
    """The server did not come up or did not end."""


class Server:
    """Tagbrush on a data folder, in this interpreter; `prelude` is code that runs before it."""

    def __init__(self, data: Path, flags: Sequence[str] = (), *, log: Path, prelude: str = "") -> None:
        """`log` is where it prints to: not in the data folder, whose disk may be full."""
        self.data, self.log = data, log
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        start = [sys.executable, "-c", prelude + START]
        self._command = [*start, "--no-browser", "--port", str(self.port), *flags, "--data-dir", str(data)]
        self._process: subprocess.Popen[bytes] | None = None
        self._printed: BinaryIO | None = None
        self.starts = 0

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.poll() is None else None

    def workers(self) -> list[psutil.Process]:
        """The worker processes."""
        with suppress(psutil.Error):
            if pid := self.pid:
                return [child for child in psutil.Process(pid).children() if "modules.engine" in child.cmdline()]
        return []

    async def start(self) -> None:
        """Start it, again and again where it refuses, and wait until it answers. Raises ServerFailed."""
        self._printed = self._printed or self.log.open("ab")
        deadline = time.monotonic() + LONGEST_START
        async with httpx.AsyncClient(base_url=self.url) as http:
            while time.monotonic() < deadline:
                if self.pid is None:
                    self.starts += 1
                    self._process = subprocess.Popen(
                        self._command, cwd=ROOT, stdout=self._printed, stderr=self._printed
                    )
                with suppress(httpx.HTTPError):
                    if (await http.get("/tagbrush/v1/status")).status_code == 200:
                        return
                await asyncio.sleep(0.1)
        raise ServerFailed(f"The server does not answer. It printed last:\n{self.printed()}")

    async def wait_until_ready(self) -> None:
        """Wait until the page, if it has one, can be opened and the worker makes pictures. Raises ServerFailed."""
        deadline = time.monotonic() + LONGEST_START
        async with httpx.AsyncClient(base_url=self.url) as http:
            while time.monotonic() < deadline:
                status = (await http.get("/tagbrush/v1/status")).json()
                if status["ui"] in ("ready", "off") and status["worker"]["state"] in ("ready", "busy"):
                    return
                await asyncio.sleep(0.2)
        raise ServerFailed(f"Page or worker do not become ready. The server printed last:\n{self.printed()}")

    def printed(self) -> str:
        """The end of what the server printed."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-2000:]

    async def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)

    async def stop(self) -> int:
        """End it as Ctrl+C does; gives its exit code, or raises ServerFailed."""
        assert self._process is not None
        workers = self.workers()
        self._process.send_signal(signal.SIGINT if os.name == "posix" else signal.SIGTERM)
        try:
            code = await asyncio.to_thread(self._process.wait, 30)
        except subprocess.TimeoutExpired:
            raise ServerFailed("The server did not end within 30 s of being asked.") from None
        if any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers):
            raise ServerFailed("A worker outlived the server.")
        return code

    def close(self) -> None:
        """Leave nothing running, whatever happened before."""
        if self._process is not None and self._process.poll() is None:
            for worker in self.workers():
                with suppress(psutil.Error):
                    worker.kill()
            self._process.kill()
            self._process.wait()
        if self._printed is not None:
            self._printed.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
