"""The script SD upscale on the page, in a real browser with the real engine behind it (S006)."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.serving import Served

pytestmark = pytest.mark.browser

DONE = re.compile("^Done")
A_JOB = 180_000


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A red square on blue."""
    image = Image.new("RGB", (128, 128), "blue")
    image.paste("red", (32, 32, 96, 96))
    image.save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


def choose(page: Page, script: str) -> None:
    page.locator("#script_list input").click()
    page.get_by_role("option", name=script, exact=True).click()


def set_number(page: Page, name: str, value: float) -> None:
    box = page.locator(f"#img2img_{name} input[type=number]")
    box.fill(str(value))
    box.blur()


def test_sd_upscale_is_chosen_and_makes_a_larger_picture(page: Page, served: Served, picture: Path) -> None:
    page.click("#tab_img2img-button")
    expect(page.locator("#script_sd_upscale")).to_be_hidden()
    choose(page, "SD upscale")
    expect(page.locator("#script_sd_upscale")).to_be_visible()
    page.set_input_files("#img2img_image input[type=file]", str(picture))
    expect(page.locator("#img2img_image img").first).to_be_visible()
    for name, value in (("steps", 3), ("denoising_strength", 0.3), ("batch_size", 3)):
        set_number(page, name, value)
    for name, value in (("sd_upscale_overlap", 32), ("sd_upscale_scale", 1.5)):
        set_number(page, name, value)
    results = page.locator('tb-results[task="img2img"]')
    before = results.get_attribute("data-job") or ""
    page.click("#img2img_generate")
    expect(results).not_to_have_attribute("data-job", before, timeout=A_JOB)
    expect(page.locator("#img2img_progress_text")).to_have_text(DONE, timeout=A_JOB)
    expect(page.locator("#html_info_img2img")).to_contain_text("SD upscale overlap: 32, SD upscale upscaler: Lanczos")
    (made,) = served.get("/tagbrush/v1/jobs?limit=1")[0]["pictures"]
    image = Image.open(io.BytesIO(served.read(made["url"]))).convert("RGB")
    assert image.size == (192, 192)
    red, _, blue = image.getpixel((96, 96))  # type: ignore[misc]
    assert red > 120 > blue
    red, _, blue = image.getpixel((8, 96))  # type: ignore[misc]
    assert blue > 120 > red


def test_a_text_with_sd_upscale_in_it_opens_the_scripts_controls(page: Page) -> None:
    page.click("#tab_img2img-button")
    text = "a cat\nSteps: 5, Sampler: Euler, CFG scale: 3, SD upscale overlap: 48, SD upscale upscaler: Nearest"
    page.fill("#img2img_prompt textarea", text)
    page.click("#img2img_paste")
    expect(page.locator("#script_sd_upscale")).to_be_visible()
    expect(page.locator("#img2img_sd_upscale_overlap input[type=number]")).to_have_value("48")
    expect(page.locator("#img2img_sd_upscale_upscaler input")).to_have_value("Nearest")
    choose(page, "None")
    expect(page.locator("#script_sd_upscale")).to_be_hidden()


def test_a_text_of_soft_inpainting_turns_it_on(page: Page) -> None:  # U026
    page.click("#tab_img2img-button")
    text = "a cat\nSteps: 5, Sampler: Euler, CFG scale: 3, Mask blur: 16, Soft inpainting enabled: True, "
    page.fill("#img2img_prompt textarea", text + "Soft inpainting difference threshold: 1.25")
    page.click("#img2img_paste")
    page.locator("#inpaint_controls").get_by_text("Inpainting", exact=True).click()
    page.locator("#soft_inpainting").get_by_text("Soft inpainting", exact=True).first.click()
    expect(page.locator("#img2img_soft_inpainting input")).to_be_checked()
    box = page.locator("#img2img_soft_inpainting_difference_threshold input[type=number]")
    expect(box).to_have_value("1.25")
