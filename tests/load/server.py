"""The server under load: a process of its own, which may be killed and started again on the same port and folder."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import httpx
import psutil

from tests.serving import free_port

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
        self._flags, self._start = flags, prelude + START
        self.port = free_port()
        self._has_answered = False
        self._process: subprocess.Popen[bytes] | None = None
        self._printed: BinaryIO | None = None
        self.starts = 0

    @property
    def url(self) -> str:
        """Where it answers; the port stays the same from its first answer on."""
        return f"http://127.0.0.1:{self.port}"

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
        async with httpx.AsyncClient() as http:
            while time.monotonic() < deadline:
                if self.pid is None:
                    if not self._has_answered and f"Port {self.port} is in use" in self.printed():
                        self.port = free_port()  # somebody took the one that was free a moment ago
                    self.starts += 1
                    self._process = subprocess.Popen(
                        self._command(), cwd=ROOT, stdout=self._printed, stderr=self._printed
                    )
                with suppress(httpx.HTTPError):
                    answer = await http.get(f"{self.url}/tagbrush/v1/status")
                    if answer.status_code == 200 and self.pid is not None:
                        self._has_answered = True
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

    def _command(self) -> list[str]:
        address = ("--no-browser", "--port", str(self.port))
        return [sys.executable, "-c", self._start, *address, *self._flags, "--data-dir", str(self.data)]

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
            code = await asyncio.to_thread(self._process.wait, 60)
        except subprocess.TimeoutExpired:
            raise ServerFailed("The server did not end within a minute of being asked.") from None
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
