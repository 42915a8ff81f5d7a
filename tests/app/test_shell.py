"""The shell in a real browser: of use while gradio loads, and nothing is lost when it makes way."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browsing import chromium
from tests.serving import GOLDEN, Served, serve

pytestmark = pytest.mark.browser

PROMPT, NEGATIVE = "#txt2img_prompt textarea", "#txt2img_neg_prompt textarea"
SWAPPED = 120_000

START = """
import sys, time
from pathlib import Path
from modules.app import assemble, cli

data, mount = Path(sys.argv[-1]), cli._mount_page

def mount_late(app, services):
    while not (data / "go").exists():
        time.sleep(0.05)
    mount(app, services)

cli._mount_page = mount_late
assemble.worker_command = lambda config: [sys.executable, "-c", "import sys; sys.stdin.read()"]
sys.exit(cli.main(sys.argv[1:]))
"""
"""The program with a worker that never is ready, and a page that waits for a file "go" in the data folder."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    chromium()
    (tmp_path / "models" / "Lora").mkdir(parents=True)
    shutil.copy(GOLDEN / "lora" / "lin.safetensors", tmp_path / "models" / "Lora")
    with serve(tmp_path, start=START) as served:
        yield served


@pytest.fixture
def shell(served: Served, browser: Browser) -> Iterator[Page]:
    """The shell, open; an error in the console, before or after the swap, fails the test."""
    errors: list[str] = []
    with browser.new_page() as page:
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.goto(served.url)
        yield page
    assert not errors


def test_cards_can_be_used_before_the_controls_are_there(shell: Page) -> None:
    card = shell.locator('.card[data-name="lin"]')
    expect(card).to_be_visible()
    assert shell.locator("#txt2img_generate").count() == 0
    shell.fill(PROMPT, "a cat")
    card.click()
    expect(shell.locator(PROMPT)).to_have_value("a cat <lora:lin:1>")


def test_what_was_typed_is_still_there_when_the_controls_come(shell: Page, served: Served) -> None:
    shell.fill(PROMPT, "a cat\nwith (a hat:1.2) and “quotes”")
    shell.locator(NEGATIVE).press_sequentially("fog")
    (served.data / "go").touch()
    expect(shell.locator("#txt2img_generate")).to_be_visible(timeout=SWAPPED)
    expect(shell.locator(PROMPT)).to_have_value("a cat\nwith (a hat:1.2) and “quotes”")
    expect(shell.locator(NEGATIVE)).to_have_value("fog")
