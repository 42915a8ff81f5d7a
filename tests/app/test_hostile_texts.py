"""Markup in everything that files, clients and pictures can make the page show, in a real browser behind a proxy.

The browser is told to pass over the page's own policy, so that what is held here is the escaping alone; that the
policy stops what escaping missed is held at the end.
"""

from __future__ import annotations

import json
import re
import shutil
import struct
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import Browser, Page, expect

from tests.browsing import chromium
from tests.serving import GOLDEN, Served, serve

from .reverse_proxy import reverse_proxy

pytestmark = pytest.mark.browser

SUBPATH = "/tagbrush"
A_JOB = 180_000
WATCH = """
window.hits = []; window.hit = (what) => window.hits.push(what);
addEventListener("securitypolicyviolation", (event) => window.hits.push("violation: " + event.violatedDirective));
"""


def evil(what: str) -> str:
    """Markup that calls home when a browser runs it, in the ways there are without a slash."""
    return f"'\"><img src=x onerror=hit('{what}')><svg onload=hit('{what}')>[m](javascript:hit('{what}'))"


def named(what: str) -> str:
    """The same as a file may be called."""
    return f"<img src=x onerror=hit('{what}')>"


CLOSING = "a<", "script><img src=x onerror=hit('closing')>"
"""A folder and a file whose path together end a script."""


def write_lora(path: Path, metadata: dict[str, str]) -> None:
    """A LoRA with other metadata than its own."""
    data = (GOLDEN / "lora" / "lin.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = {**header.get("__metadata__", {}), **metadata}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


METADATA = ("ss_output_name", "ssmd_description", "ssmd_keywords", "modelspec.title", "modelspec.description",
            "modelspec.trigger_phrase", "modelspec.author", "ss_sd_model_name")  # fmt: skip


def plant(data: Path) -> None:
    """Files whose every word is markup."""
    loras, models, embeddings = data / "models" / "Lora", data / "models" / "Stable-diffusion", data / "embeddings"
    for folder in (loras / named("folder"), loras / CLOSING[0], models / CLOSING[0], embeddings):
        folder.mkdir(parents=True)
    write_lora(loras / "meta.safetensors", {name: evil(name) for name in METADATA})
    shutil.copy(GOLDEN / "lora" / "lin.safetensors", loras / named("folder") / f"{named('name')}.safetensors")
    shutil.copy(GOLDEN / "lora" / "lin.safetensors", loras / CLOSING[0] / f"{CLOSING[1]}.safetensors")
    shutil.copy(GOLDEN / "embeddings" / "ti.safetensors", embeddings / f"{named('embedding')}.safetensors")
    shutil.copy(GOLDEN / "model" / "tiny_sd1.safetensors", models / CLOSING[0] / f"{CLOSING[1]}.safetensors")
    sidecar = {"description": evil("description"), "notes": evil("notes"), "activation text": evil("activation"),
               "negative text": evil("negative"), "preferred weight": 0.5, "sd version": evil("version")}  # fmt: skip
    (loras / "meta.json").write_text(json.dumps(sidecar), encoding="utf-8")
    (loras / "broken.safetensors").write_bytes(struct.pack("<Q", 90) + evil("header").encode().ljust(200))
    quoted = evil("style").replace('"', '""')
    row = f'"{quoted}","{quoted}","{quoted}"\n'
    (data / "styles.csv").write_text(f"name,prompt,negative_prompt\n{row}", encoding="utf-8")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    chromium()
    data = tmp_path_factory.mktemp("data")
    plant(data)
    with serve(data, "--subpath", SUBPATH, "--trusted-proxy", "127.0.0.1") as served:
        served.wait_for("page")
        served.wait_for("worker")
        yield served


def opened(browser: Browser, url: str, errors: list[str], **options: Any) -> Page:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
    context.set_default_timeout(30_000)
    context.add_init_script(WATCH)
    page = context.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("requestfailed", lambda request: errors.append(f"{request.url}: {request.failure}"))
    page.on("dialog", lambda dialog: errors.append(f"a dialog: {dialog.message}"))
    page.on("response", lambda answer: errors.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None)
    page.goto(f"{url}/")
    page.wait_for_selector("#txt2img_generate")
    page.wait_for_selector("tb-results .tb-stage")
    return page


def is_clean(page: Page) -> bool:
    """Whether nothing ran, and none of the markup became an element."""
    assert page.evaluate("window.hits") == []
    made = "img[src='x'], [onerror], svg[onload], a[href^='javascript']"
    assert page.locator(made).count() == 0
    return True


def test_nothing_shown_is_taken_for_markup(served: Served, browser: Browser, tmp_path: Path) -> None:
    errors: list[str] = []
    with reverse_proxy(served.url, SUBPATH, strips=True) as url:
        page = opened(browser, url, errors, bypass_csp=True)
        show_cards(page)
        show_lists(page)
        make_a_picture(page)
        paste(page)
        read_a_file(page, tmp_path)
        show_refusals(page, url)
        page.close()
    expected = re.compile("ERR_ABORTED|422 |400 ")  # streams that the page ends itself, and what is refused
    assert [error for error in errors if not expected.search(error)] == []


def show_cards(page: Page) -> None:
    tabs = page.locator("#txt2img_extra_tabs")
    tabs.get_by_role("tab", name="Lora", exact=True).click()
    for name in (named("name"), CLOSING[1], "meta", "broken"):
        expect(page.locator(".card:visible .tb-card-name").get_by_text(name, exact=True)).to_have_count(1)
    expect(page.locator(".card:visible", has_text=named("folder"))).to_have_count(1)
    card = page.locator('.card:visible[data-name="meta"]')
    assert evil("description") in (card.get_attribute("title") or "")
    card.click()
    expect(page.locator("#txt2img_prompt textarea")).to_have_value(re.compile(re.escape(evil("activation"))))
    page.locator('.card:visible[data-name="broken"]').click()
    expect(page.locator(".tb-toast").last).to_contain_text("broken cannot be used")
    tabs.get_by_role("tab", name="Textual Inversion", exact=True).click()
    expect(page.locator(".card:visible", has_text=named("embedding"))).to_have_count(1)
    tabs.get_by_role("tab", name="Checkpoints", exact=True).click()
    expect(page.locator(".card:visible", has_text=CLOSING[1])).to_have_count(1)
    assert is_clean(page)
    tabs.get_by_role("tab", name="Generation", exact=True).click()


def show_lists(page: Page) -> None:
    """gradio's own lists: checkpoints and styles."""
    page.locator("#setting_sd_model_checkpoint input").click()
    option = page.get_by_role("option").filter(has_text=CLOSING[1])
    expect(option).to_be_visible()
    assert is_clean(page)
    option.click()
    expect(page.locator("#setting_sd_model_checkpoint input")).to_have_value(re.compile(re.escape(CLOSING[1])))
    page.locator("#txt2img_styles input").click()
    page.get_by_role("option").filter(has_text=evil("style")).click()
    page.keyboard.press("Escape")
    expect(page.locator("#txt2img_styles")).to_contain_text(evil("style"))
    page.click("#txt2img_style_apply")
    expect(page.locator("#txt2img_prompt textarea")).to_have_value(re.compile(re.escape(evil("style"))))
    assert is_clean(page)


def make_a_picture(page: Page) -> None:
    """A prompt, the notice of an unknown LoRA, and the picture's text, by way of the proxy and its events."""
    page.fill("#txt2img_prompt textarea", f"{evil('prompt')} <lora:{named('unknown')}:1>")
    page.fill("#txt2img_neg_prompt textarea", evil("negative prompt"))
    steps = page.locator("#txt2img_steps input[type=number]")
    steps.fill("2")
    steps.blur()
    page.click("#txt2img_generate")
    expect(page.locator("#txt2img_progress_text")).to_have_text(re.compile("^Done"), timeout=A_JOB)
    page.wait_for_function("document.querySelector('#txt2img_gallery img').naturalWidth > 0")
    text = page.locator("#html_info_txt2img")
    expect(text).to_contain_text(evil("prompt"))
    expect(text).to_contain_text(evil("negative prompt"))
    expect(page.locator("tb-results[task=txt2img] .tb-notices")).to_contain_text(named("unknown")[:-1])
    assert is_clean(page)


def paste(page: Page) -> None:
    """A text from elsewhere whose model, settings and unknown keys are markup."""
    page.fill(
        "#txt2img_prompt textarea",
        f"{evil('pasted')}\nNegative prompt: x\nSteps: 3, Sampler: {json.dumps(evil('sampler'))}, Seed: 1, "
        f"Size: 64x64, Model: {json.dumps(evil('model'))}, VAE: {json.dumps(evil('vae'))}, "
        f"Emphasis: {json.dumps(evil('emphasis'))}, Clip skip: 2, {json.dumps(evil('key'))}: 1",
    )
    page.click("#txt2img_paste")
    expect(page.locator("#txt2img_prompt textarea")).to_have_value(evil("pasted"))
    assert is_clean(page)


def read_a_file(page: Page, folder: Path) -> None:
    info = PngInfo()
    info.add_text("parameters", f"{evil('png')}\nSteps: 3, Sampler: Euler, Seed: 1, Size: 64x64, Model: {evil('of')}")
    info.add_itxt("comment", evil("comment"))
    info.add_itxt(named("key")[:70], evil("item"))
    Image.new("RGB", (32, 32)).save(folder / f"{named('file')}.png", pnginfo=info)
    page.click("#tab_pnginfo-button")
    page.set_input_files("tb-pnginfo input[type=file]", str(folder / f"{named('file')}.png"))
    expect(page.locator("#pnginfo_text")).to_contain_text(evil("png"))
    expect(page.locator("tb-pnginfo .tb-items")).to_contain_text(evil("item"))
    assert is_clean(page)
    page.click("#pnginfo_send_to_img2img")
    expect(page.locator("#img2img_prompt textarea")).to_have_value(evil("png"))
    page.set_input_files("#img2img_image input[type=file]", str(folder / f"{named('file')}.png"))
    page.wait_for_function("document.querySelector('#img2img_image img')?.naturalWidth === 32")
    assert is_clean(page)
    page.click("#tab_txt2img-button")


def show_refusals(page: Page, url: str) -> None:
    """Errors that repeat what was given: our own messages, and the answers of the API opened as pages."""
    box = page.locator("#setting_sd_model_checkpoint input")
    box.fill(evil("no such checkpoint"))
    box.press("Enter")
    expect(page.locator(".tb-toast").last).to_contain_text(evil("no such checkpoint"))
    page.evaluate("window.tagbrush.say(`" + evil("said") + "`)")
    expect(page.locator(".tb-toast").last).to_contain_text(evil("said"))
    assert is_clean(page)
    for path in (
        f"/tagbrush/v1/jobs/{evil('job')}",
        f"/nothing/{evil('path')}",
        f"/tagbrush/v1/catalogue/{evil('kind')}",
    ):
        answer = page.request.get(url + path)
        assert answer.status >= 400
        assert answer.headers["content-type"].startswith("application/json")
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("strips", [True, False])
def test_what_escaping_would_miss_the_policy_stops(served: Served, browser: Browser, strips: bool) -> None:
    errors: list[str] = []
    with reverse_proxy(served.url, SUBPATH, strips=strips) as url:
        page = opened(browser, url, errors)
        assert errors == []
        assert is_clean(page)  # the page itself breaks no rule of its own
        page.evaluate(
            """() => {
                const place = document.createElement("div");
                place.innerHTML = `<img src=x onerror="hit('ran')"><svg onload="hit('ran')"></svg>`;
                const script = document.createElement("script");
                script.textContent = "hit('ran')";
                const far = Object.assign(document.createElement("script"), {src: "http://127.0.0.2:9/x.js"});
                document.body.append(place, script, far);
            }"""
        )
        page.wait_for_function("window.hits.length >= 3")
        assert set(page.evaluate("window.hits")) <= {
            "violation: script-src-attr", "violation: script-src-elem", "violation: script-src"
        }  # fmt: skip
        page.close()


@pytest.mark.parametrize("strips", [True, False])
def test_events_come_through_the_proxy_as_they_happen(served: Served, strips: bool) -> None:
    with reverse_proxy(served.url, SUBPATH, strips=strips) as url:
        with urllib.request.urlopen(f"{url}/tagbrush/v1/events", timeout=60) as events:
            assert events.readline().startswith((b"event: snapshot", b"id:", b"retry:"))
        with urllib.request.urlopen(url, timeout=60) as page:
            assert page.url == f"{url}/"
            assert b"tagbrush/assets/javascript/main.js" in page.read()
