"""A whole life without the network: start, page, picture, end; and nobody asks anything of another machine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser

from modules.engine.offline import is_elsewhere, is_name_elsewhere
from tests.browsing import browser, chromium
from tests.serving import GOLDEN, Served, serve

__all__ = ["browser"]

pytestmark = pytest.mark.browser

RECORDER = """
import json, os, sys

_file = os.open({path!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def _record(event, given):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        _write(["address", given[1] if len(given) > 1 else None])
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        _write(["name", given[0]])

def _write(what):
    os.write(_file, (json.dumps([os.getpid(), *what], default=repr) + "\\n").encode())

_write(["start", sys.argv or sys.orig_argv])
sys.addaudithook(_record)
"""
"""Read by every Python process at its start: what it tries to connect to is written down before anyone refuses it."""


LOADING = "[...document.querySelectorAll('link[href], script[src], img[src], iframe[src]')].map((e) => e.href || e.src)"


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recorder") / "tried.jsonl"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, tried: Path) -> Iterator[Served]:
    chromium()
    data = tmp_path_factory.mktemp("data")
    (data / "models" / "Stable-diffusion").mkdir(parents=True)
    shutil.copy(GOLDEN / "model" / "tiny_sd1.safetensors", data / "models" / "Stable-diffusion" / "aaa.safetensors")
    (tried.parent / "sitecustomize.py").write_text(RECORDER.format(path=str(tried)), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tried.parent))
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "GRADIO_ANALYTICS_ENABLED"):
            patch.delenv(name, raising=False)
        with serve(data, "--device", "cpu") as served:
            served.post("/tagbrush/v1/options", {"sd_model_checkpoint": "aaa"})
            served.wait_for("page")
            served.wait_for("worker")
            yield served


def test_the_page_asks_nothing_of_another_machine(served: Served, browser: Browser) -> None:
    """Neither by a request nor by a link that has the browser look up or open something ahead."""
    asked: list[str] = []
    linked: list[str] = []
    with browser.new_page() as page:
        page.on("request", lambda request: asked.append(request.url))
        page.on("websocket", lambda socket: asked.append(socket.url))
        page.goto(served.url)
        page.wait_for_selector("#txt2img_generate", timeout=60_000)
        page.fill("#txt2img_prompt textarea", "a cat")
        for name, value in (("steps", 2), ("width", 64), ("height", 64)):
            box = page.locator(f"#txt2img_{name} input[type=number]")
            box.fill(str(value))
            box.blur()
        page.click("#txt2img_generate")
        page.wait_for_selector("tb-results img", timeout=60_000)
        linked += page.evaluate(LOADING)
        page.goto(f"{served.url}/docs")
        page.wait_for_selector(".opblock", timeout=60_000)
        linked += page.evaluate(LOADING)
    assert f"{served.url}/tagbrush/assets/javascript/main.js" in asked
    assert len(linked) > 3
    own = {"", urlsplit(served.url).netloc}
    assert {url for url in (*asked, *linked) if urlsplit(url).netloc not in own} == set()


def test_neither_server_nor_worker_tries_to_reach_another_machine(served: Served, tried: Path) -> None:
    answer = served.post("/sdapi/v1/txt2img", {"prompt": "a cat", "steps": 2, "width": 64, "height": 64})
    assert len(answer["images"]) == 1
    lines = [json.loads(line) for line in tried.read_text(encoding="utf-8").splitlines()]
    started = {pid for pid, kind, _ in lines if kind == "start"}
    assert served.process.pid in started
    assert len(started) >= 2  # the worker too
    addresses = [tuple(what) if isinstance(what, list) else what for _, kind, what in lines if kind == "address"]
    assert [place for place in addresses if is_elsewhere(place)] == []
    assert [name for _, kind, name in lines if kind == "name" and is_name_elsewhere(name, "")] == []
