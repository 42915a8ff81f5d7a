from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.browsing import browser, chromium
from tests.serving import GOLDEN, Served, serve

__all__ = ["browser"]

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The program with its built-in model, one more LoRA in a sub-folder, a broken one, and one with a hostile name."""
    chromium()
    data = tmp_path_factory.mktemp("data")
    loras = data / "models" / "Lora"
    (loras / "styles").mkdir(parents=True)
    shutil.copy(GOLDEN / "lora" / "lin.safetensors", loras / "styles" / "ink (soft).safetensors")
    (loras / "broken.safetensors").write_bytes((GOLDEN / "lora" / "lin.safetensors").read_bytes()[:100])
    shutil.copy(GOLDEN / "lora" / "lin.safetensors", loras / f"{HOSTILE}.safetensors".replace("/", ""))
    with serve(data) as served:
        served.wait_for("page")
        served.wait_for("worker")
        yield served


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(30_000)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, served: Served) -> Iterator[Page]:
    """The page, loaded, with nothing running; an error in its console fails the test."""
    for job in served.get("/tagbrush/v1/jobs?limit=20"):
        if job["state"] in ("queued", "running"):
            served.post(f"/tagbrush/v1/jobs/{job['id']}/interrupt", {})
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("dialog", lambda dialog: errors.append(f"a dialog opened: {dialog.message}"))
    open_page(page, served)
    yield page
    assert not errors


def open_page(page: Page, served: Served) -> None:
    page.goto(served.url)
    page.wait_for_selector("#txt2img_generate")
    page.wait_for_selector("tb-results .tb-stage")


def read_text(path: Path) -> str:
    return path.read_text(encoding="utf-8")
