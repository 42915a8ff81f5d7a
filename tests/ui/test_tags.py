"""What a click on a card does to the prompts: the pure function of the page, run where it lives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.serving import ROOT

pytestmark = pytest.mark.browser

LORA = {"kind": "lora", "insert": "my (lo.ra)+"}
STYLE = {"kind": "lora", "insert": "ink", "activation_text": "ink wash", "preferred_weight": 0.6}
HYPERNET = {"kind": "hypernetwork", "insert": "glow"}
WORD = {"kind": "embedding", "insert": "bad"}
BOTH = {"kind": "lora", "insert": "x", "negative_text": "ugly"}


@pytest.fixture(scope="module")
def script(browser: Browser) -> Iterator[Page]:
    """An empty page with the module `tags.js` in it."""
    page = browser.new_page()
    source = (ROOT / "modules" / "ui" / "javascript" / "tags.js").read_text(encoding="utf-8")
    page.add_script_tag(content=source + "\nwindow.tags = { toggle, contains, cardWeight };", type="module")
    page.wait_for_function("window.tags")
    yield page
    page.close()


def toggle(
    script: Page, card: dict[str, Any], prompt: str, negative: str = "", target: str = "prompt"
) -> tuple[str, str]:
    arguments = [{"prompt": prompt, "negative": negative}, card, target]
    result = script.evaluate("([p, c, t]) => tags.toggle(p, c, t, tags.cardWeight(c, 1))", arguments)
    return result["prompt"], result["negative"]


@pytest.mark.parametrize(
    ("card", "before", "after"),
    [
        (LORA, "", "<lora:my (lo.ra)+:1>"),
        (LORA, "a cat", "a cat <lora:my (lo.ra)+:1>"),
        (LORA, "a cat ", "a cat <lora:my (lo.ra)+:1>"),
        (LORA, "a cat <lora:my (lo.ra)+:1>", "a cat"),
        (LORA, "a <lora:my (lo.ra)+:-0.5:te=2:dyn=4> cat", "a cat"),
        (LORA, "<lora:my (lo.ra)+:1>, a cat", ", a cat"),
        (LORA, "<lyco:my (lo.ra)+:1>", ""),
        (LORA, "<lora:my (lo.ra)+ 2:1>", "<lora:my (lo.ra)+ 2:1> <lora:my (lo.ra)+:1>"),
        (STYLE, "a cat", "a cat <lora:ink:0.6> ink wash"),
        (STYLE, "a cat <lora:ink:0.2> ink wash, sky", "a cat, sky"),
        (STYLE, "a cat <lora:ink:0.2> ink washed", "a cat ink washed"),
        (HYPERNET, "a cat", "a cat <hypernet:glow:1>"),
        (HYPERNET, "a cat <hypernet:glow:0.3> dog", "a cat dog"),
        (HYPERNET, "<lora:glow:1>", "<lora:glow:1> <hypernet:glow:1>"),
        (WORD, "hands", "hands bad"),
        (WORD, "badhand bad-hands my_bad", "badhand bad-hands my_bad bad"),
        (WORD, "hands, bad, feet", "hands,, feet"),
        (WORD, "hands (bad:1.3) feet", "hands feet"),
        (WORD, "Bad hands", "hands"),
    ],
)
def test_a_click_puts_in_or_takes_out(script: Page, card: dict[str, Any], before: str, after: str) -> None:
    assert toggle(script, card, before) == (after, "")


@pytest.mark.parametrize("card", [LORA, STYLE, HYPERNET, WORD], ids=lambda card: card["insert"])
@pytest.mark.parametrize("before", ["", "a cat", "a (cat:1.2), <lora:other:0.3>", "über ünïcode 猫"])
def test_two_clicks_leave_no_trace(script: Page, card: dict[str, Any], before: str) -> None:
    once, _ = toggle(script, card, before)
    assert toggle(script, card, once)[0] == before


def test_the_negative_box_takes_a_tag_too(script: Page) -> None:
    assert toggle(script, LORA, "a cat", "", "negative") == ("a cat", "<lora:my (lo.ra)+:1>")


def test_a_card_with_negative_text_fills_both_boxes_and_empties_both(script: Page) -> None:
    once = toggle(script, BOTH, "a cat", "blurry", "negative")
    assert once == ("a cat <lora:x:1>", "blurry ugly")
    assert toggle(script, BOTH, *once) == ("a cat", "blurry")


def test_a_word_made_for_the_negative_prompt_goes_there_alone(script: Page) -> None:
    word = {"kind": "embedding", "insert": "dull", "negative_text": "dull"}
    once = toggle(script, word, "a cat", "blurry", "prompt")
    assert once == ("a cat", "blurry dull")
    assert toggle(script, word, *once) == ("a cat", "blurry")
