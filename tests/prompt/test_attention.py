from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.prompt import Break, Segment, parse_attention
from modules.prompt.attention import MAX_DEPTH

syntax = st.text(alphabet="ab ()[]:\\.12,-\n|<>BREAK", max_size=60)
plain = st.text(alphabet=st.characters(exclude_characters="\\()[]:", exclude_categories=["Cs"]), min_size=1).filter(
    lambda text: "BREAK" not in text
)


def read(text, mode="Original"):
    return ["BREAK" if isinstance(part, Break) else (part.text, part.weight) for part in parse_attention(text, mode)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # P047: a break in brackets stays one (V01 lists the ancestor's words of negative weight).
        ("(a BREAK b:1.2)", [("a", 1.2), "BREAK", ("b", 1.2)]),
        ("[BREAK]", [("", 1 / 1.1), "BREAK", ("", 1 / 1.1)]),
        ("(BREAK:1)", [("", 1.0), "BREAK", ("", 1.0)]),
        ("a BREAK BREAK b", [("a", 1.0), "BREAK", ("", 1.0), "BREAK", ("b", 1.0)]),
        ("BREAK", [("", 1.0), "BREAK", ("", 1.0)]),
        ("foo,BREAK,bar", [("foo,", 1.0), "BREAK", (",bar", 1.0)]),
        ("aBREAKb", [("aBREAKb", 1.0)]),
        ("a break b", [("a break b", 1.0)]),
        (r"a\\(b)", [("a\\", 1.0), ("b", 1.1)]),
        ("(a\n:1.3)", [("a\n", 1.3)]),
        ("(:1.2)", [("", 1.0)]),
        ("()", [("", 1.0)]),
        ("(a[b)c]", [("a", 1.1), ("b", 1.1 * (1 / 1.1)), ("c", 1 / 1.1)]),
        ("(a (b:1.5):2)", [("a ", 2.0), ("b", 3.0)]),
        ("a)", [("a)", 1.0)]),
        (r"a\b", [("ab", 1.0)]),
        (r"name_\(series\)", [("name_(series)", 1.0)]),
    ],
)
def test_vectors(text, expected):
    assert read(text) == expected


@pytest.mark.parametrize("number", ["1.2.3", ".", "+.", "-", "1..", "9" * 400])
def test_a_number_that_is_none_is_literal_text(number):
    # "-" alone is no number for the syntax either; both ways the words stay and nothing is raised (P018).
    assert read(f"(a:{number})") == [(f"a:{number}", 1.1)]


@pytest.mark.parametrize("text", ["(a:1.2)", "(a: 1.2)", "(a:1.2 )", "(a: 1.2 )", "(a:\t1.2\n)"])
def test_white_space_around_a_weight_does_not_matter(text):
    assert read(text) == [("a", 1.2)]


def test_mode_none_takes_everything_literally():
    assert read("(a:1.2) BREAK [b]", "None") == [("(a:1.2) BREAK [b]", 1.0)]


def test_mode_ignore_reads_the_syntax_and_drops_the_weights():
    assert read("a (b:1.2) BREAK [c]", "Ignore") == [
        ("a ", 1.0),
        ("b", 1.0),
        ("", 1.0),
        "BREAK",
        ("", 1.0),
        ("c", 1.0),
    ]


def test_no_norm_reads_as_original_does():
    assert read("a (b:1.2) [c]", "No norm") == read("a (b:1.2) [c]")


@given(plain)
def test_plain_text_is_one_segment_of_weight_one(text):
    assert parse_attention(text) == (Segment(text, 1.0),)


@given(plain, st.floats(-100, 100).map(lambda number: f"{number:f}"))
def test_a_weight_is_the_number_that_was_written(text, number):
    assert parse_attention(f"({text}:{number})") == (Segment(text, float(number)),)


@given(syntax)
def test_neighbours_differ_in_weight_and_there_is_always_a_segment(text):
    found = parse_attention(text)
    assert any(isinstance(part, Segment) for part in found)
    for left, right in pairwise(found):
        assert isinstance(left, Break) or isinstance(right, Break) or left.weight != right.weight


@given(st.text() | syntax, st.sampled_from(["None", "Ignore", "Original", "No norm"]))
def test_every_text_can_be_read(text, mode):
    assert parse_attention(text, mode)


def test_nesting_is_limited_so_that_time_is_not():
    assert read("(" * (MAX_DEPTH + 1) + "a")[0][0] == "(a"
