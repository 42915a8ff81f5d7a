"""Infotext against texts that A1111 1.10.1 parsed itself, and the law that writing and reading agree."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.params import Infotext, format_infotext, parse_infotext, quote, split_sizes, unquote

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
CASES = json.loads((GOLDEN / "infotext.json").read_text(encoding="utf-8"))["infotext"]
SAMPLED = json.loads((GOLDEN / "sampling.json").read_text(encoding="utf-8"))["cases"]


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_a_text_is_read_as_a1111_reads_it(case: dict[str, Any]) -> None:
    info = parse_infotext(case["text"])
    assert info.prompt == case["parsed"]["Prompt"]
    assert info.negative_prompt == case["parsed"]["Negative prompt"]
    rewritten_on_paste = {"Sampler", "Schedule type", "Hires sampler", "Hires schedule type"}
    for key, value in split_sizes(info.fields).items():
        if key not in rewritten_on_paste:
            assert str(case["parsed"].get(key)) == value, key


@pytest.mark.parametrize("case", [c for c in SAMPLED if c.get("infotexts")], ids=lambda c: c["name"])
def test_rewriting_a_text_of_a1111_gives_the_same_text(case: dict[str, Any]) -> None:
    for text in case["infotexts"]:
        assert format_infotext(parse_infotext(text)) == _stripped(text)


def _stripped(text: str) -> str:
    """A1111 strips each prompt line when it reads; what it writes keeps the person's spaces."""
    return "\n".join(line.strip() for line in text.split("\n")).strip()


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("a", "a"),
        ("a,b", '"a,b"'),
        ("a:b", '"a:b"'),
        ("a\nb", '"a\\nb"'),
        ('a"b', 'a"b'),
        ('a"b,', '"a\\"b,"'),
        ("é,", '"é,"'),
    ],
)
def test_quoting_follows_the_reference(value: str, written: str) -> None:
    # I011, V50
    assert quote(value) == written
    assert unquote(written) == value


KEYS = st.from_regex(r"[A-Z][a-z]{1,8}", fullmatch=True).filter(lambda key: key not in ("Negative",))
VALUES = st.text(
    st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters='"\\'), min_size=1, max_size=20
).filter(lambda value: value == value.strip())
LINES = st.from_regex(r"[a-zéü<>()\[\]:.0-9 ]{0,30}", fullmatch=True).map(str.strip)


@given(LINES, LINES, st.dictionaries(KEYS, VALUES, min_size=3, max_size=6))
def test_what_is_written_is_read_back(prompt: str, negative: str, fields: dict[str, str]) -> None:
    info = Infotext(prompt, negative, fields)
    back = parse_infotext(format_infotext(info))
    assert (back.prompt, back.negative_prompt) == (prompt, negative)
    assert dict(back.fields) == fields


@given(st.text())
def test_no_text_is_too_odd_to_read(text: str) -> None:
    parse_infotext(text)


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("A: 1, Bc: 2, De: 3, Fg: 4", {"Bc": "2", "De": "3", "Fg": "4"}),
        ("Aa: 1, Tiling, Bb: 2, Cc: 3", {"Aa": "1", "Bb": "2", "Cc": "3"}),
        ("Aa: 1, Foo: , Bb: 2, Cc: 3", {"Aa": "1", "Bb": "2", "Cc": "3"}),
        ('Aa: "x: 1, Bb: 2, Cc: 3', {"Aa": '"x: 1', "Bb": "2", "Cc": "3"}),
        ('Aa: "x: \\"1\\", y", Bb: 2, Cc: 3', {"Aa": 'x: "1", y', "Bb": "2", "Cc": "3"}),
    ],
)
def test_odd_pairs_are_read_as_a1111_reads_them(line: str, fields: dict[str, str]) -> None:
    # I014, V70
    assert dict(parse_infotext(f"p\n{line}").fields) == fields


@pytest.mark.parametrize("value", ["1x2x3", "12x", "a 1x2", "1x2 px"])
def test_only_a_whole_size_is_two_sides(value: str) -> None:
    # I014
    assert split_sizes({"Size": value}) == {"Size": value}


def test_a_key_that_is_its_own_value_is_written_once() -> None:
    # I010
    assert format_infotext(Infotext("p", "", {"Aa": "1", "Own": "Own"})) == "p\nAa: 1, Own"


@pytest.mark.parametrize(
    ("lines", "prompt", "negative"),
    [
        ("p\nNegative prompt:\nbad hands", "p", "bad hands"),
        ("p\nNegative prompt:\n\n bad\n\nhands", "p", "bad\n\nhands"),
        ("p\n\nNegative prompt: bad", "p\n", "bad"),
        ("Negative prompt: bad\n", "", "bad\n"),
    ],
)
def test_a_prompt_begins_with_its_first_line_that_is_not_empty(lines: str, prompt: str, negative: str) -> None:
    # I014
    info = parse_infotext(f"{lines}\nSteps: 20, Sampler: Euler, CFG scale: 7")
    assert (info.prompt, info.negative_prompt) == (prompt, negative)


def test_without_a_negative_prompt_there_is_no_line_for_it() -> None:
    # I010
    assert format_infotext(Infotext("p", "", {"Aa": "1"})) == "p\nAa: 1"


def test_two_pairs_are_prompt_and_three_are_not() -> None:
    # I014, V70
    assert parse_infotext("Steps: 20, Sampler: Euler a").prompt == "Steps: 20, Sampler: Euler a"
    assert parse_infotext("Steps: 20, Sampler: Euler a, Seed: 1").prompt == ""


@pytest.mark.parametrize("line", ["word " * 100_000, "a" * 200_000, "x," + " " * 200_000 + ".", 'ab: "x, ' * 20_000])
def test_a_long_line_is_read_in_a_moment(line: str) -> None:
    begun = time.process_time()
    parse_infotext(line)
    assert time.process_time() - begun < 2
