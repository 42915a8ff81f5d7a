"""The page in a real browser, with the real engine behind it: what a newcomer does, and what goes wrong for them."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.serving import GOLDEN, Served

from .conftest import HOSTILE, open_page

pytestmark = pytest.mark.browser

PROMPT = "#txt2img_prompt textarea"
NEGATIVE = "#txt2img_neg_prompt textarea"
STATUS = "#txt2img_progress_text"
DONE = re.compile("^Done")
A_JOB = 180_000


def open_tab(page: Page, name: str) -> None:
    page.locator("#txt2img_extra_tabs").get_by_role("tab", name=name, exact=True).click()


def card(page: Page, name: str) -> Locator:
    return page.locator(f'.card[data-name="{name}"]:visible')


def set_number(page: Page, name: str, value: int) -> None:
    box = page.locator(f"#txt2img_{name} input[type=number]")
    box.fill(str(value))
    box.blur()


def generate(page: Page, prompt: str, *, steps: int = 4, count: int = 1) -> None:
    page.fill(PROMPT, prompt)
    open_tab(page, "Generation")
    set_number(page, "steps", steps)
    set_number(page, "batch_count", count)
    press_generate(page)


def press_generate(page: Page, task: str = "txt2img") -> None:
    """Press the button and wait until the panel shows the new job."""
    results = page.locator(f'tb-results[task="{task}"]')
    before = results.get_attribute("data-job") or ""
    page.click(f"#{task}_generate")
    expect(results).not_to_have_attribute("data-job", before, timeout=A_JOB)


def test_a_newcomer_gets_a_picture_with_its_text(page: Page, served: Served) -> None:
    page.fill(PROMPT, "a red apple on a blue background")
    open_tab(page, "Lora")
    card(page, "ink (soft)").click()
    expect(page.locator(PROMPT)).to_have_value("a red apple on a blue background <lora:ink (soft):1>")
    generate(page, page.input_value(PROMPT))
    expect(page.locator(STATUS)).to_have_text(DONE, timeout=A_JOB)
    expect(page.locator("#html_info_txt2img")).to_contain_text("a red apple on a blue background <lora:ink (soft):1>")
    page.wait_for_function("document.querySelector('#txt2img_gallery img').naturalWidth === 128")
    saved = sorted((served.data / "outputs" / "txt2img-images").rglob("*.png"))[-1]
    assert re.fullmatch(r"\d{5}-\d+\.png", saved.name)
    with Image.open(saved) as picture:
        assert picture.info["parameters"] == page.inner_text("#html_info_txt2img")


def test_a_second_click_takes_the_tag_out_again(page: Page) -> None:
    page.fill(PROMPT, "a cat")
    open_tab(page, "Lora")
    card(page, "ink (soft)").click()
    expect(card(page, "ink (soft)")).to_have_attribute("aria-pressed", "true")
    card(page, "ink (soft)").click()
    expect(page.locator(PROMPT)).to_have_value("a cat")
    expect(card(page, "ink (soft)")).to_have_attribute("aria-pressed", "false")


def test_a_card_goes_to_the_box_that_had_the_focus_last(page: Page) -> None:
    page.focus(NEGATIVE)
    open_tab(page, "Lora")
    card(page, "ink (soft)").click()
    expect(page.locator(NEGATIVE)).to_have_value("<lora:ink (soft):1>")
    expect(page.locator(PROMPT)).to_have_value("")


def test_reloading_in_the_middle_of_a_job_loses_nothing(page: Page, served: Served) -> None:
    generate(page, "a cat", steps=50, count=50)
    expect(page.locator(".tb-thumb:visible").first).to_be_visible(timeout=A_JOB)
    open_page(page, served)
    expect(page.locator(STATUS)).to_contain_text("step", timeout=A_JOB)
    expect(page.locator(".tb-thumb:visible").nth(1)).to_be_visible(timeout=A_JOB)
    page.click("#txt2img_interrupt")
    expect(page.locator(STATUS)).to_have_text(re.compile("^Stopped"), timeout=A_JOB)
    expect(page.locator(PROMPT)).to_have_value("a cat")


def test_a_page_that_missed_the_end_of_a_job_asks_for_it(context: BrowserContext, served: Served) -> None:
    """As after a night asleep, when the stream does not go back so far any more."""
    context.add_init_script(
        """
        window.snapshots = [];
        window.EventSource = class extends EventSource {
          addEventListener(kind, listener) {
            if (kind === "snapshot") window.snapshots.push(listener);
            super.addEventListener(kind, (event) => window.deaf || listener(event));
          }
        };
        """
    )
    page = context.new_page()
    open_page(page, served)
    generate(page, "a cat", steps=150, count=50)
    expect(page.locator(STATUS)).to_contain_text("step", timeout=A_JOB)
    page.evaluate("window.deaf = true")
    (job,) = [job for job in served.get("/tagbrush/v1/jobs?limit=20") if job["state"] == "running"]
    served.post(f"/tagbrush/v1/jobs/{job['id']}/interrupt", {})
    assert served.get(f"/tagbrush/v1/jobs/{job['id']}?wait=60")["state"] == "interrupted"
    expect(page.locator(STATUS)).to_contain_text("step")
    now = {"jobs": [], "queue": [], "worker": {"state": "ready", "device": "", "message": ""}, "workers": []}
    page.evaluate("(data) => window.snapshots.forEach((hear) => hear({ data }))", json.dumps(now))
    expect(page.locator(STATUS)).to_have_text(re.compile("^Stopped"))
    page.close()


def test_interrupt_stops_at_once(page: Page) -> None:
    generate(page, "a cat", steps=150, count=50)
    expect(page.locator(STATUS)).to_contain_text("step", timeout=A_JOB)
    page.click("#txt2img_interrupt")
    expect(page.locator(STATUS)).to_have_text(re.compile("^Stopped"), timeout=A_JOB)
    expect(page.locator("#txt2img_interrupt")).to_be_disabled()


def test_a_file_dropped_into_the_folder_becomes_a_card(page: Page, served: Served) -> None:
    open_tab(page, "Lora")
    expect(card(page, "ink (soft)")).to_be_visible()
    shutil.copy(GOLDEN / "lora" / "locon.safetensors", served.data / "models" / "Lora" / "just dropped.safetensors")
    expect(card(page, "just dropped")).to_be_visible(timeout=60_000)


def test_a_broken_file_says_why_and_stays_out_of_the_prompt(page: Page) -> None:
    open_tab(page, "Lora")
    broken = card(page, "broken")
    expect(broken).to_contain_text("cannot be used")
    broken.click()
    expect(page.locator(".tb-toast")).to_contain_text("broken cannot be used")
    expect(page.locator(PROMPT)).to_have_value("")


def test_a_word_for_another_model_says_so_on_its_card(page: Page, served: Served) -> None:
    # P095
    (served.data / "embeddings").mkdir(exist_ok=True)
    shutil.copy(GOLDEN / "embeddings" / "xlstyle.safetensors", served.data / "embeddings")
    open_tab(page, "Textual Inversion")
    expect(card(page, "xlstyle")).to_contain_text("for another model", timeout=60_000)
    expect(card(page, "xlstyle")).to_have_attribute("title", re.compile("made for SDXL"))


def test_a_network_that_is_missing_is_named_and_the_picture_is_made(page: Page) -> None:
    generate(page, "a cat <lora:nowhere:1>")
    expect(page.locator(STATUS)).to_have_text(DONE, timeout=A_JOB)
    expect(page.locator("#txt2img_notices")).to_contain_text("nowhere")


def test_names_are_shown_as_text_whatever_they_are(page: Page) -> None:
    open_tab(page, "Lora")
    hostile = page.locator(".card:visible", has_text=HOSTILE)
    expect(hostile).to_have_count(1)
    hostile.click()
    generate(page, f"{HOSTILE} <lora:{HOSTILE}:1>")
    expect(page.locator(STATUS)).to_have_text(DONE, timeout=A_JOB)
    assert page.locator("img[onerror]").count() == 0


def test_pasting_a_pictures_text_fills_the_controls(page: Page) -> None:
    text = (
        "a dog\nNegative prompt: blurry\nSteps: 7, Sampler: Euler a, Schedule type: Karras, CFG scale: 4.5, "
        "Seed: 99, Size: 192x256, Clip skip: 2, RNG: CPU, Version: 1"
    )
    page.fill(PROMPT, text)
    page.click("#txt2img_paste")
    expect(page.locator(PROMPT)).to_have_value("a dog")
    expect(page.locator(NEGATIVE)).to_have_value("blurry")
    numbers = {"steps": "7", "cfg_scale": "4.5", "width": "192", "height": "256"}
    for name, value in numbers.items():
        expect(page.locator(f"#txt2img_{name} input[type=number]")).to_have_value(value)
    expect(page.locator("#txt2img_seed input")).to_have_value("99")
    expect(page.locator("#txt2img_sampling input")).to_have_value("Euler a")
    expect(page.locator("#txt2img_scheduler input")).to_have_value("Karras")


def test_the_text_of_a_picture_makes_the_same_picture_again(page: Page) -> None:
    generate(page, "a red apple on a blue background")
    expect(page.locator(STATUS)).to_have_text(DONE, timeout=A_JOB)
    text = page.inner_text("#html_info_txt2img")
    page.click("#txt2img_use_settings")
    seed = re.search(r"Seed: (\d+)", text)
    assert seed
    expect(page.locator("#txt2img_seed input")).to_have_value(seed[1])
    press_generate(page)
    expect(page.locator(STATUS)).to_have_text(DONE, timeout=A_JOB)
    assert page.inner_text("#html_info_txt2img") == text


def test_the_page_starts_with_the_checkpoints_own_size_and_guidance(page: Page) -> None:
    for name, value in {"width": "128", "height": "128", "cfg_scale": "3"}.items():
        expect(page.locator(f"#txt2img_{name} input[type=number]")).to_have_value(value)


def test_a_picture_can_be_sent_to_img2img_and_made_into_another(page: Page) -> None:
    prompt = "a red apple on a blue background <lora:ink (soft):1>"
    generate(page, prompt)
    expect(page.locator(STATUS)).to_have_text(DONE, timeout=A_JOB)
    page.click("#txt2img_send_to_img2img")
    expect(page.locator("#img2img_image img")).to_be_visible()
    expect(page.locator("#img2img_prompt textarea")).to_have_value(prompt)
    expect(page.locator("#img2img_token_counter")).to_have_text("7/75")
    expect(page.locator("#img2img_interrupt")).to_be_disabled()
    expect(page.locator("#img2img_skip")).to_be_disabled()
    page.locator("#img2img_extra_tabs").get_by_role("tab", name="Lora", exact=True).click()
    expect(page.locator('tb-cards[task="img2img"][kind="lora"] .is-chosen')).to_have_count(1)
    press_generate(page, "img2img")
    expect(page.locator("#img2img_progress_text")).to_have_text(DONE, timeout=A_JOB)


def test_img2img_without_a_picture_says_what_to_do(page: Page) -> None:
    page.get_by_role("tab", name="img2img", exact=True).click()
    page.click("#img2img_generate")
    expect(page.locator(".tb-toast")).to_contain_text("Choose a picture to start from")


def test_an_impossible_value_is_refused_in_words(page: Page, served: Served) -> None:
    before = len(served.get("/tagbrush/v1/jobs?limit=100"))
    page.fill("#txt2img_seed input", "-7")
    page.click("#txt2img_generate")
    expect(page.locator(".tb-toast, .toast-body").first).to_contain_text("seed")
    assert len(served.get("/tagbrush/v1/jobs?limit=100")) == before


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_sticks_out_of_the_screen(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    page.wait_for_function(f"innerWidth === {width} && document.documentElement.scrollWidth <= {width}")


def test_nothing_moves_when_a_picture_arrives(page: Page) -> None:
    def places() -> object:
        """Heights inside the panel, which itself may move with the page's scrolling."""
        return page.evaluate(
            """() => {
                const top = (part) => document.querySelector(part).getBoundingClientRect().top;
                return ['.tb-stage', '.tb-actions', '#html_info_txt2img']
                    .map((part) => Math.round(top(part) - top('tb-results[task="txt2img"]')));
            }"""
        )

    generate(page, "a cat", steps=2)
    before = places()
    expect(page.locator(STATUS)).to_have_text(DONE, timeout=A_JOB)
    assert places() == before
