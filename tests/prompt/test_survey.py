from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.prompt import Tokenizer, check_brackets, count_tokens, embedding_words, find_embeddings, parse_prompt

GOLDEN = json.loads((Path(__file__).parents[1] / "data/golden/cond.json").read_text("utf-8"))
TOKENIZER = Tokenizer()
WORDS = embedding_words({"tipt3": 3, "ti": 1, "huge": 80, "old": 0}, TOKENIZER)


def count(text, **options):
    found = count_tokens(parse_prompt(text, steps=20, **options), TOKENIZER, WORDS)
    return f"{found.used}/{found.limit}"


@pytest.mark.parametrize("case", GOLDEN["prompts"], ids=lambda case: str(case["i"]))
def test_the_limit_is_the_reference_one(case):
    vectors = {name: found["vectors"] for name, found in GOLDEN["embeddings"]["loaded"].items()}
    found = count_tokens(
        parse_prompt(case["prompt"], steps=20, negative=True), TOKENIZER, embedding_words(vectors, TOKENIZER)
    )
    expected = case["chunks"]["Original/backtrack20"]
    if case["prompt"] == "red (cat BREAK dog:1.3) end":
        # P047: BREAK inside a weighted group is a real break here.
        expected = {"token_count": 77, "target_count": 150}
    assert (found.used, found.limit) == (expected["token_count"], expected["target_count"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "0/75"),
        ("a cat", "2/75"),
        ("a cat <lora:very long name:1>", "2/75"),
        ("a cat # and a comment", "2/75"),
        ("a [cat:big red dog:0.5]", "4/75"),
        ("a cat AND a big red dog", "4/75"),
        ("tipt3", "3/75"),
        ("cat " * 75, "75/75"),
        ("cat " * 76, "76/150"),
        ("a BREAK b", "76/150"),
    ],
)
def test_counter(text, expected):
    assert count(text) == expected


def test_a_negative_prompt_is_counted_whole():
    assert count("a cat AND a dog", negative=True) == "5/75"


def test_embeddings_are_named_once_and_in_order():
    use = find_embeddings(parse_prompt("TI [tipt3:ti:5] (ti:1.2)", steps=10), TOKENIZER, WORDS)
    assert use.names == ("ti", "tipt3")
    assert use.notices == ()


def test_an_embedding_that_was_refused_is_reported_where_it_is_named():
    use = find_embeddings(parse_prompt("a huge cat, huge AND old", steps=10), TOKENIZER, WORDS)
    assert use.names == ()
    assert use.notices == (WORDS.refused["huge"], WORDS.refused["old"])


@pytest.mark.parametrize("text", ["", "a (b [c] {d})", r"\( a", "(a:1.2)[b]", r"\\\(", "smile :"])
def test_brackets_that_match_are_not_mentioned(text):
    assert check_brackets(text) == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(a", ["round brackets ( ): 1 opened but not closed."]),
        ("a]]", ["square brackets [ ]: 2 closed but not opened."]),
        (
            "{(a",
            ["round brackets ( ): 1 opened but not closed.", "curly brackets { }: 1 opened but not closed."],
        ),
        ("(a[b)c]", ["The brackets are closed in the wrong order."]),
        (")a(", ["The brackets are closed in the wrong order."]),
        (r"\\(", ["round brackets ( ): 1 opened but not closed."]),
    ],
)
def test_brackets_that_do_not_match_are_explained(text, expected):
    assert list(check_brackets(text)) == expected


@given(st.text() | st.text(alphabet="()[]{}\\a"))
def test_brackets_around_a_text_that_matches_match_too(text):
    if not check_brackets(text) and not text.endswith("\\"):
        assert check_brackets(f"({text})") == ()
