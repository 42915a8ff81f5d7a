from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.prompt import strip_comments


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a # b", "a \n"),
        ("#x\na", "\na"),
        ("a\n#x\nb", "a\nb"),
        ("a\n  # x\nb", "a\n  \nb"),
        # P073: only at the start of a line or after white space.
        ("C# and F#", "C# and F#"),
        ("https://x/#y // z", "https://x/#y // z"),
        ("a\n", "a\n"),
    ],
)
def test_vectors(text, expected):
    assert strip_comments(text) == expected


@given(st.text())
def test_no_comment_is_left_and_nothing_else_is_lost(text):
    left = strip_comments(text)
    assert strip_comments(left).split() == left.split()
    assert left == text or "#" in text
