from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.prompt import Part, split_and


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a :1.2 AND b:-0.5", [("a", 1.2), (" b", -0.5)]),
        ("a AND", [("a", 1.0), ("", 1.0)]),
        ("AND b", [("", 1.0), (" b", 1.0)]),
        ("a:1.2b AND c", [("a:1.2b", 1.0), (" c", 1.0)]),
        ("(a:1.2) AND (b:0.8):0.5", [("(a:1.2)", 1.0), (" (b:0.8)", 0.5)]),
        ("cat:3", [("cat", 3.0)]),
        ("ratio 16:9", [("ratio 16", 9.0)]),
        ("aANDb and c", [("aANDb and c", 1.0)]),
        ("[a AND b:c:3]", [("[a", 1.0), (" b:c:3]", 1.0)]),
        ("a: +.5 ", [("a", 0.5)]),
        ("a:1.2.3", [("a:1.2.3", 1.0)]),
        ("a:" + "9" * 400, [("a:" + "9" * 400, 1.0)]),
    ],
)
def test_vectors(text, expected):
    assert [(part.text, part.weight) for part in split_and(text)] == expected


words = st.text(alphabet="abc ,", min_size=1, max_size=8).filter(lambda text: text == text.rstrip())


@given(st.lists(st.tuples(words, st.integers(-90, 90).map(lambda tenths: tenths / 10)), min_size=1, max_size=5))
def test_parts_that_are_joined_come_apart_again(parts):
    text = " AND".join(f"{words}:{weight}" for words, weight in [(f" {words}", weight) for words, weight in parts])
    assert split_and(text) == tuple(Part(f" {words}", weight) for words, weight in parts)


@given(st.text())
def test_every_text_has_parts(text):
    assert len(split_and(text)) >= 1
