from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.prompt import Scheduled, active, schedule
from modules.prompt.schedule import MAX_DEPTH

syntax = st.text(alphabet="ab ()[]:|\\.12-", max_size=40)
words = st.text(alphabet="abc ,", max_size=6)


def read(text, steps=10, **timeline):
    return [(entry.until, entry.text) for entry in schedule(text, steps, **timeline)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a:b:5]", [(5, "a"), (10, "b")]),
        ("[a:b:0.5]", [(5, "a"), (10, "b")]),
        ("[a:b:1]", [(1, "a"), (10, "b")]),
        ("[a:b:1.0]", [(10, "a")]),
        ("[a:b:0]", [(10, "b")]),
        ("[a:b:0.05]", [(10, "b")]),
        ("[a:b:-1]", [(10, "b")]),
        ("[a:b:20]", [(10, "a")]),
        ("[a::5]", [(5, "a"), (10, "")]),
        ("[:b:5]", [(5, ""), (10, "b")]),
        ("[b:5]", [(5, ""), (10, "b")]),
        ("[::5]", [(5, ""), (10, "")]),
        ("a [b:.5] c", [(5, "a  c"), (10, "a b c")]),
        ("[ a : b : 3 ]", [(3, " a "), (10, " b ")]),
        ("[a:b:5e-1]", [(10, "b")]),
        ("[a:b:1e400]", [(10, "a")]),
        ("[a:b:-1.e400]", [(10, "b")]),
        ("a: [b:c:3]", [(3, "a: b"), (10, "a: c")]),
        (r"[a\:b:c:5]", [(5, r"a\:b"), (10, "c")]),
        ("((a][:b:c [d:3]", [(3, "((a][:b:c "), (10, "((a][:b:c d")]),
        ("[(a:1.1):(b:1.2):3]", [(3, "(a:1.1)"), (10, "(b:1.2)")]),
        ("([a:b:5]:1.2)", [(5, "(a:1.2)"), (10, "(b:1.2)")]),
    ],
)
def test_vectors(text, expected):
    assert read(text) == expected


@pytest.mark.parametrize(
    ("text", "steps", "expected"),
    [
        ("[a|b|c]", 4, ["a", "b", "c", "a"]),
        ("[|a]", 4, ["", "a", "", "a"]),
        ("[a||b]", 3, ["a", "", "b"]),
        ("[fe|||]male", 5, ["female", "male", "male", "male", "female"]),
        ("[a:[b|c]:2]", 4, ["a", "a", "b", "c"]),
    ],
)
def test_alternation_takes_the_next_option_at_each_step(text, steps, expected):
    assert read(text, steps) == list(enumerate(expected, 1))


@pytest.mark.parametrize(
    "text", ["[a|b:5]", "[a:b:c:5]", "[a:b]", r"\[a:b:5\]", "a [b:c:.5", "{a|b}", "a|b", "[a:b:]", "[a:b:5.5.5]", "[5]"]
)
def test_what_fits_no_rule_is_plain_text(text):
    assert read(text) == [(10, text)]


@pytest.mark.parametrize("text", ["a | [b:c:5]", "(a|b) [b:c:5]", "[b:c:5] \\", "[a|b:c] [b:c:5]"])
def test_a_stray_bar_or_backslash_makes_the_whole_prompt_plain_text(text):
    assert read(text) == [(10, text)]


@pytest.mark.parametrize("stray", ["(", "[", ")", "]", ":", "(]", "[)", "]:[", "(a:b:c)", "[x:y]", "[a:b:c:5]"])
def test_brackets_that_do_not_match_disable_no_valid_schedule(stray):
    assert read(f"{stray}[a:b:5]") == [(5, f"{stray}a"), (10, f"{stray}b")]
    assert read(f"[a:b:5]{stray}") == [(5, f"a{stray}"), (10, f"b{stray}")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a:b:1.5]", [(5, "a"), (10, "b")]),
        ("[a:b:0.5]", [(10, "b")]),
        ("[a:b:12]", [(2, "a"), (10, "b")]),
        ("[a:b:5]", [(10, "b")]),
    ],
)
def test_in_the_hires_pass_numbers_go_on_from_the_first(text, expected):
    assert read(text, 10, hires_steps=10) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("[a:b:0.5]", [(5, "a"), (10, "b")]), ("[a:b:1.5]", [(1, "a"), (10, "b")])]
)
def test_old_timelines_know_fractions_by_their_size(text, expected):
    assert read(text, 10, hires_steps=10, old=True) == expected


@pytest.mark.parametrize(("text", "expected"), [("[a:b:5]", "aaaaaabbbb"), ("[a|b|c]", "aabcab")])
def test_the_entry_of_a_call_is_the_first_that_reaches_it(text, expected):
    entries = schedule(text, len(expected))
    assert "".join(entries[active(entries, call)].text for call in range(len(expected))) == expected


def test_after_the_end_the_last_entry_holds():
    assert active((Scheduled(3, "a"), Scheduled(5, "b")), 9) == 1


@given(words, words, words, st.integers(1, 9))
def test_a_switch_says_one_thing_and_then_the_other(around, before, after, when):
    assert read(f"{around}[{before}:{after}:{when}]{around}") == [
        (when, around + before + around),
        (10, around + after + around),
    ]


@given(words, st.lists(words, min_size=2, max_size=5), st.integers(1, 30))
def test_alternation_is_periodic(around, options, steps):
    found = read(f"{around}[{'|'.join(options)}]", steps)
    assert found == [(step, around + options[(step - 1) % len(options)]) for step in range(1, steps + 1)]


@given(syntax | st.text(), st.integers(0, 30), st.none() | st.integers(1, 30), st.booleans())
def test_every_text_has_a_schedule_that_rises_to_the_last_step(text, steps, hires_steps, old):
    entries = schedule(text, steps, hires_steps=hires_steps, old=old)
    untils = [entry.until for entry in entries]
    assert untils == sorted(set(untils))
    assert untils[-1] == (steps if hires_steps is None or old else hires_steps)


@given(st.text().filter(lambda text: not set("[]|\\") & set(text)))
def test_text_without_square_brackets_is_left_alone(text):
    assert read(text) == [(10, text)]


def test_nesting_is_limited_so_that_recursion_is_too():
    deep = "[x:" * (MAX_DEPTH + 1) + "a" + ":1]" * (MAX_DEPTH + 1)
    assert read("[x:" * MAX_DEPTH + "a" + ":1]" * MAX_DEPTH) == [(1, "x"), (10, "a")]
    assert schedule(deep, 10)


def test_a_prompt_that_changes_too_often_for_the_memory_is_plain_text():
    text = "[a|b][c|d|e] " * 20_000
    assert schedule(text, 10_000) == (Scheduled(10_000, text),)
    assert len(schedule("[a|b][c|d|e] " * 100, 10_000)) == 10_000
    assert schedule("a" * 1_000_000, 10_000) == (Scheduled(10_000, "a" * 1_000_000),)


def test_equal_texts_share_their_memory():
    entries = schedule("[a|b] cat", 10)
    assert entries[0].text is entries[2].text
