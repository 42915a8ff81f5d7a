"""Errors in words for a person."""

from __future__ import annotations

import pytest

from modules.params import UnknownName
from modules.params.errors import LISTED, LONGEST_NAME


class Unread(str):
    """A text whose letters nobody looks at one by one: each would take memory and time."""

    def casefold(self) -> str:
        raise AssertionError("compared whole")


def test_an_unknown_name_is_compared_and_shown_as_far_as_names_go() -> None:
    error = UnknownName("Sampler", Unread("Euler" + "x" * 10**6), ["Euler a", "DDIM"])
    assert len(str(error)) < LONGEST_NAME + 100
    assert str(error).startswith('Sampler "Eulerxxx')


def test_a_name_of_usual_length_is_shown_whole() -> None:
    name = "x" * LONGEST_NAME
    assert f'LoRA "{name}" is unknown.' in str(UnknownName("LoRA", name, ["ink"]))


@pytest.mark.parametrize(("count", "end"), [(LISTED, f"n{LISTED - 1}."), (5000, f"and {5000 - LISTED} more.")])
def test_of_many_names_to_choose_from_some_are_listed_and_the_others_counted(count: int, end: str) -> None:
    told = str(UnknownName("LoRA", "窓", [f"n{number}" for number in range(count)]))
    assert told.count(", ") < LISTED + 1
    assert told.endswith(end)
