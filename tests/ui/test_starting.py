"""Inpainting, PNG Info and texts dropped on a prompt, in a real browser with the real engine behind it."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import Page, expect

from tests.serving import Served

from .conftest import open_page

pytestmark = pytest.mark.browser

DONE = re.compile("^Done")
A_JOB = 180_000
TEXT = """a lemon on a table
Negative prompt: blur
Steps: 7, Sampler: Euler, CFG scale: 4, Seed: 5, Size: 64x96, ENSD: 31337"""


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A picture of 96x64 with a text, half red and half blue."""
    image = Image.new("RGB", (96, 64), "red")
    image.paste("blue", (48, 0, 96, 64))
    info = PngInfo()
    info.add_text("parameters", TEXT)
    image.save(tmp_path / "picture.png", pnginfo=info)
    return tmp_path / "picture.png"


def open_inpainting(page: Page) -> None:
    page.click("#tab_img2img-button")
    page.click("#img2img_inpaint_tab-button")


def paint(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw a stroke between two points of the picture, each in shares of its sides."""
    page.locator("#img2maskimg").scroll_into_view_if_needed()
    box = page.locator("#img2maskimg").bounding_box()
    assert box
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)]
    page.mouse.move(*points[0])
    page.mouse.down()
    page.mouse.move(*points[1], steps=4)
    page.mouse.up()


def stored(served: Served, input_id: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(served.read(f"/tagbrush/v1/inputs/{input_id}"))).convert("L"))


def generate(page: Page) -> None:
    results = page.locator('tb-results[task="img2img"]')
    before = results.get_attribute("data-job") or ""
    page.click("#img2img_generate")
    expect(results).not_to_have_attribute("data-job", before, timeout=A_JOB)
    expect(page.locator("#img2img_progress_text")).to_have_text(DONE, timeout=A_JOB)


def test_only_the_painted_part_is_made_anew(page: Page, served: Served, picture: Path) -> None:
    open_inpainting(page)
    page.set_input_files("tb-inpaint input[type=file]", str(picture))
    expect(page.locator(".tb-paint")).to_have_class(re.compile("has-picture"))
    paint(page, (0.2, 0.3), (0.3, 0.7))
    for name, value in (("steps", 4), ("width", 96), ("height", 64)):
        box = page.locator(f"#img2img_{name} input[type=number]")
        box.fill(str(value))
        box.blur()
    generate(page)
    job = served.get("/tagbrush/v1/jobs?limit=1")[0]
    mask = stored(served, job["request"]["mask"])
    assert mask.shape == (64, 96)
    assert mask[32, 24] == 255
    assert mask[:, 60:].max() == 0
    made = Image.open(io.BytesIO(served.read(job["pictures"][0]["url"]))).convert("RGB")
    assert made.size == (96, 64)
    assert {made.getpixel((x, y)) for x in (70, 90) for y in (5, 60)} == {(0, 0, 255)}
    assert made.getpixel((24, 32)) != (255, 0, 0)


def test_a_painted_mask_survives_a_reload(page: Page, served: Served, picture: Path) -> None:
    open_inpainting(page)
    page.set_input_files("tb-inpaint input[type=file]", str(picture))
    expect(page.locator(".tb-paint")).to_have_class(re.compile("has-picture"))
    paint(page, (0.5, 0.5), (0.6, 0.5))
    page.wait_for_function("sessionStorage.getItem('tagbrush.inpaint.mask')")
    open_page(page, served)
    open_inpainting(page)
    expect(page.locator(".tb-paint")).to_have_class(re.compile("has-picture"))
    page.wait_for_function(
        "document.querySelector('#img2maskimg').getContext('2d').getImageData(52, 32, 1, 1).data[3] === 255"
    )
    page.get_by_role("button", name="Clear mask").click()
    page.click("#img2img_generate")
    expect(page.locator(".tb-toast")).to_contain_text("There is no mask")


def test_png_info_shows_a_pictures_text_and_sends_it_on(page: Page, picture: Path) -> None:
    """T001."""
    page.click("#tab_pnginfo-button")
    page.set_input_files("tb-pnginfo input[type=file]", str(picture))
    expect(page.locator("#pnginfo_text")).to_have_text(TEXT)
    page.click("#pnginfo_send_to_txt2img")
    expect(page.locator("#txt2img_prompt textarea")).to_have_value("a lemon on a table")
    expect(page.locator("#txt2img_neg_prompt textarea")).to_have_value("blur")
    expect(page.locator("#txt2img_seed input")).to_have_value("5")
    expect(page.locator("#txt2img_override_settings")).to_contain_text("ENSD: 31337")


def test_a_picture_dropped_on_the_prompt_fills_the_controls(page: Page, picture: Path) -> None:
    """U037."""
    encoded = base64.b64encode(picture.read_bytes()).decode()
    page.evaluate(
        """async (encoded) => {
            const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
            const dropped = new DataTransfer();
            dropped.items.add(new File([bytes], "picture.png", { type: "image/png" }));
            const area = document.querySelector("#txt2img_prompt textarea");
            area.dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: dropped }));
        }""",
        encoded,
    )
    expect(page.locator("#txt2img_prompt textarea")).to_have_value("a lemon on a table")
    expect(page.locator("#txt2img_steps input[type=number]")).to_have_value("7")


def test_the_counter_follows_the_prompt(page: Page) -> None:
    """P084, P085."""
    page.fill("#txt2img_prompt textarea", "a cat <lora:x:1>")
    expect(page.locator("#txt2img_token_counter")).to_have_text("2/75")
    page.fill("#txt2img_prompt textarea", "a (cat")
    expect(page.locator("#txt2img_token_counter")).to_have_class(re.compile("is-wrong"))


def test_a_style_is_chosen_counted_and_merged(page: Page, served: Served) -> None:
    """P071."""
    sheet = 'name,prompt,negative_prompt\nink,"{prompt}, ink",photo\n'
    (served.data / "styles.csv").write_text(sheet, encoding="utf-8")
    page.fill("#txt2img_prompt textarea", "a cat")
    page.click("#txt2img_styles input")
    page.get_by_role("option", name="ink").click()
    expect(page.locator("#txt2img_token_counter")).to_have_text("4/75")
    page.click("#txt2img_style_apply")
    expect(page.locator("#txt2img_prompt textarea")).to_have_value("a cat, ink")
    expect(page.locator("#txt2img_neg_prompt textarea")).to_have_value("photo")
