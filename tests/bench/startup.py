"""How long a person waits, from the start command to cards, controls and a first picture; seen from outside.

    python tests/bench/startup.py [--runs 5] [--python PATH]

Each run is a process of its own and a fresh profile of a real Chromium, which is running already, as a person's
would be. The first start fills caches and is not counted. Times are seconds since the start command.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
START = "import sys; from modules.app.cli import main; sys.exit(main(sys.argv[1:]))"
STAGES = {
    "answers": "the server answers",
    "cards": "the page shows cards",
    "controls": "the page's controls can be used",
    "worker": "the worker is ready",
    "picture": "the first picture is on the page",
    "end": "(from Ctrl+C) the server is gone",
}
LONGEST = 300.0
PICTURE = "#txt2img_gallery .tb-picture"
IS_NEW = """([picture, old]) =>
    picture.src.includes("/pictures/") && picture.complete && !old.some((id) => picture.src.includes(id))"""


class Server:
    """One started Tagbrush and the clock that began with its command."""

    def __init__(self, command: Sequence[str], data_dir: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        flags = ["--no-browser", "--port", str(self.port), "--data-dir", str(data_dir)]
        environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        self._log = (data_dir / "server.log").open("wb")
        self._began = time.monotonic()
        self._process = subprocess.Popen([*command, *flags], cwd=ROOT, env=environ, stdout=self._log, stderr=self._log)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path) as response:
            return json.load(response)

    def wait_for_answer(self) -> float:
        """The moment at which the server gives the page."""
        while True:
            with suppress(OSError), urllib.request.urlopen(self.url) as response:
                response.read()
                return self.seconds
            if self._process.poll() is not None or self.seconds > LONGEST:
                raise SystemExit(f"The server does not answer; see {self._log.name}.")
            time.sleep(0.02)

    def wait_for_worker(self) -> float:
        """The moment at which the worker can take a job."""
        while self.seconds < LONGEST:
            if self.get("/tagbrush/v1/status")["worker"]["state"] in ("ready", "busy"):
                return self.seconds
            time.sleep(0.1)
        raise SystemExit(f"The worker does not become ready; see {self._log.name}.")

    def stop(self) -> float:
        """End it as Ctrl+C does; gives the seconds that took."""
        asked = time.monotonic()
        self._process.send_signal(signal.SIGINT)
        self._process.wait(30)
        self._log.close()
        return time.monotonic() - asked


def one_start(command: Sequence[str], data_dir: Path, browser: Browser, prompt: str | None) -> dict[str, float]:
    """The moments of one start."""
    with fresh_page(browser) as page:
        server = Server(command, data_dir)
        times = {"answers": server.wait_for_answer()}
        watch = threading.Thread(target=lambda: times.update(worker=server.wait_for_worker()))
        watch.start()
        try:
            times |= on_the_page(page, server, prompt)
            watch.join()
        finally:
            times["end"] = server.stop()
    return times


def on_the_page(page: Page, server: Server, prompt: str | None) -> dict[str, float]:
    """What a person sees who opens the page, and, given a prompt, presses Generate as soon as there is a button."""
    times = {}
    page.goto(server.url, wait_until="commit")
    page.locator(".card").first.wait_for(timeout=LONGEST * 1000)
    times["cards"] = server.seconds
    page.locator("#txt2img_generate").wait_for(timeout=LONGEST * 1000)
    page.wait_for_load_state("load")
    times["controls"] = server.seconds
    if prompt:
        page.locator("#txt2img_prompt textarea").fill(prompt)
        picture = page.locator(PICTURE).element_handle()
        old = [job["id"] for job in server.get("/tagbrush/v1/jobs")]
        page.locator("#txt2img_generate").click()
        page.wait_for_function(IS_NEW, arg=[picture, old], timeout=LONGEST * 1000)
        times["picture"] = server.seconds
    return times


@contextmanager
def fresh_page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    try:
        yield context.new_page()
    finally:
        context.close()


def fill(data_dir: Path) -> None:
    """Some cards of one's own, as a used installation has."""
    (data_dir / "models" / "Lora").mkdir(parents=True)
    for path in sorted((ROOT / "tests/data/golden/lora").glob("*.safetensors"))[:24]:
        shutil.copy(path, data_dir / "models" / "Lora")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def table(runs: Sequence[dict[str, float]]) -> Table:
    """Median, fastest and slowest of each stage."""
    shown = Table("seconds from the start command until", "median", "min", "max", title=f"{len(runs)} warm starts")
    for stage, meaning in STAGES.items():
        values = [run[stage] for run in runs if stage in run]
        if values:
            shown.add_row(meaning, *(f"{value:.2f}" for value in (statistics.median(values), min(values), max(values))))
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--python", help="an interpreter that has the packages, in place of webui.py and its .venv")
    parser.add_argument("--prompt", default="a red apple on a blue background", help="empty: make no picture")
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    arguments = parser.parse_args()
    command = [arguments.python, "-c", START] if arguments.python else [sys.executable, str(ROOT / "webui.py")]
    console = Console()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        data_dir = Path(folder)
        fill(data_dir)
        browser = playwright.chromium.launch(executable_path=arguments.chromium, args=CHROMIUM)
        one_start(command, data_dir, browser, arguments.prompt)
        runs = []
        for number in range(arguments.runs):
            load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
            runs.append(one_start(command, data_dir, browser, arguments.prompt))
            stages = ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in runs[-1].items())
            console.print(f"run {number + 1} (load {load:.1f}): {stages}")
        browser.close()
    console.print(table(runs))


if __name__ == "__main__":
    main()
