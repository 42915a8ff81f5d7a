"""The vectors of quoting and of reading a picture's text."""

from __future__ import annotations

import pytest

from modules.params import parse_infotext
from modules.params.infotext import quote, unquote


@pytest.mark.parametrize(
    ("value", "quoted"),
    [
        ("a", "a"),
        ("a,b", '"a,b"'),
        ("a:b", '"a:b"'),
        ("a\nb", '"a\\nb"'),
        ('a"b', 'a"b'),
        ('a"b,', '"a\\"b,"'),
    ],
)
def test_a_value_is_quoted_where_it_could_be_taken_for_several(value: str, quoted: str) -> None:
    # V50
    assert quote(value) == quoted
    assert unquote(quoted) == value


def test_a_quoted_value_is_one_value() -> None:
    # V70
    text = (
        "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512, Model hash: abc, "
        'Lora hashes: "a: 123, b: 456", Version: v1.10.1'
    )
    fields = parse_infotext(text).fields
    assert len(fields) == 8
    assert fields["Lora hashes"] == "a: 123, b: 456"


def test_fewer_than_three_pairs_are_words_of_the_prompt() -> None:
    # V70
    found = parse_infotext("Steps: 20, Sampler: Euler a")
    assert found.prompt == "Steps: 20, Sampler: Euler a" and not found.fields


def test_a_key_has_two_characters_at_least() -> None:
    # V70: two pairs are too few for a picture's text, three are not
    assert not parse_infotext("A: 1, Bc: 2, De: 3").fields
    assert dict(parse_infotext("A: 1, Bc: 2, De: 3, Fg: 4").fields) == {"Bc": "2", "De": "3", "Fg": "4"}
