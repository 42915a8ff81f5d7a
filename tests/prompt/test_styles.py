from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.prompt import Style, apply_styles, extract_styles

STYLES = (
    Style("photo", "photo of {prompt}, 35mm", "drawing"),
    Style("art", "art by nobody", ""),
    Style("clean", "", "blurry"),
)


@pytest.mark.parametrize(
    ("style", "prompt", "expected"),
    [
        ("s", "p", "p, s"),
        ("", "p", "p"),
        ("s", "", "s"),
        ("a {prompt} b {prompt}", "p", "a p b p"),
        (" s ", " p ", "p, s"),
    ],
)
def test_vectors(style, prompt, expected):
    assert apply_styles(prompt, [style]) == expected


def test_styles_apply_in_order_each_to_the_result_before():
    assert apply_styles("cat", ["red {prompt}", "shiny", "{prompt}!"]) == "red cat, shiny!"


def test_no_style_leaves_the_prompt_alone():
    assert apply_styles(" cat ", []) == " cat "


words = st.text(alphabet="xyz, ", max_size=12).filter(lambda text: text == text.strip(" ,"))


@given(words, words, st.permutations(STYLES).flatmap(lambda found: st.integers(0, 3).map(lambda n: found[:n])))
def test_styles_that_were_applied_are_found_and_give_the_prompts_back(prompt, negative, chosen):
    styled = apply_styles(prompt, [style.prompt for style in chosen])
    negated = apply_styles(negative, [style.negative_prompt for style in chosen])
    found = extract_styles(styled, negated, STYLES)
    again = [style for name in found.names for style in STYLES if style.name == name]
    assert apply_styles(found.prompt, [style.prompt for style in again]) == styled
    assert apply_styles(found.negative_prompt, [style.negative_prompt for style in again]) == negated
    assert sorted(found.names) == sorted(style.name for style in chosen)


def test_a_style_fits_only_with_both_its_texts():
    assert extract_styles("photo of cat, 35mm", "", STYLES).names == ()
    assert extract_styles("photo of cat, 35mm", "ugly, drawing", STYLES) == ("cat", "ugly", ("photo",))


def test_a_style_that_names_the_prompt_twice_is_found():
    twice = Style("twice", "{prompt} and {prompt}")
    assert extract_styles("cat and cat", "", [twice]) == ("cat", "", ("twice",))
    assert extract_styles("cat and dog", "", [twice]).names == ()


def test_a_style_is_not_found_within_a_word():
    assert extract_styles("badhand", "", [Style("hand", "hand")]).names == ()


@given(st.text(), st.text(), st.text(), st.text())
def test_any_texts_can_be_looked_through(prompt, negative, text, negative_text):
    extract_styles(prompt, negative, [Style("s", text, negative_text), Style("t", f"{text}{{prompt}}{text}", "")])
