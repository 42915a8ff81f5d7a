"""Wrong values in words."""

from __future__ import annotations

from typing import Any

import pytest

from modules.params.wrongs import SHOWN, TOLD, in_words, shown


def problem(*place: str | int, value: Any = 0) -> dict[str, Any]:
    return {"loc": place, "input": value, "msg": "Input should be a valid string"}


def test_a_wrong_value_is_told_with_its_name_and_what_it_is() -> None:
    told = in_words([problem("body", "styles", 3, value=1)], ("body",))
    assert told == "styles.3 is 1: Input should be a valid string."


def test_what_is_wrong_altogether_is_called_so() -> None:
    assert in_words([problem("body", value=[])], ("body",), "the request").startswith("the request is []: ")


def test_of_many_the_first_are_told_and_the_others_counted() -> None:
    told = in_words([problem(number) for number in range(1000)], ())
    assert told.count("valid string") == TOLD
    assert told.endswith(f"So it is with {1000 - TOLD} more values.")


@pytest.mark.parametrize("value", ["x", b"x", "ä" * 60, None, 1.5, [1, 2], {"a": "b"}])
def test_a_small_value_is_shown_whole(value: object) -> None:
    assert shown(value) == repr(value)


class Unspelled(str):
    """A text that nobody spells out."""

    def __repr__(self) -> str:
        raise AssertionError("spelled out whole")


def test_a_large_text_is_not_spelled_out_to_show_its_beginning() -> None:
    assert shown(Unspelled("x" * 10**6)) == "'" + "x" * (SHOWN - 4) + "..."


@pytest.mark.parametrize("large", ["x" * 10**7, b"\0" * 10**7, ["x" * 10**7] * 50, {"x" * 10**7: ["y"] * 10**6}])
def test_a_large_value_is_shown_in_brief(large: object) -> None:
    assert len(shown(large)) <= SHOWN
    assert len(in_words([problem("x" * 10**7, value=large)], ())) < 300


def test_what_is_said_of_a_wrong_value_is_cut_short_where_it_repeats_the_value() -> None:
    told = in_words([{**problem("task"), "msg": f"Input tag '{'x' * 10**7}' is none"}], ())
    assert len(told) < 400
