from __future__ import annotations

import pytest

from modules.prompt import Tokenizer, embedding_words

TOKENIZER = Tokenizer()


def found_in(text, vectors):
    words = embedding_words(vectors, TOKENIZER)
    ids = TOKENIZER.encode(text)
    return [word.name for at in range(len(ids)) if (word := words.at(ids, at))]


def test_the_longest_word_wins():
    assert found_in("bad hands", {"bad": 1, "bad hands": 2})[0] == "bad hands"


def test_a_word_matches_within_a_longer_phrase():
    assert found_in("very bad hands, bad", {"bad": 1}) == ["bad", "bad"]


def test_letter_case_and_punctuation_do_not_matter():
    assert found_in("(EasyNegative!), x", {"easynegative": 3}) == ["easynegative"]


def test_of_two_names_that_are_the_same_tokens_the_later_wins():
    assert found_in("foo", {"Foo": 1, "foo": 2}) == ["foo"]
    assert found_in("foo", {"foo": 2, "Foo": 1}) == ["Foo"]


def test_a_word_is_not_found_in_another_word():
    assert found_in("badhand", {"bad": 1}) == []


@pytest.mark.parametrize("vectors", [0, 76, 1000])
def test_an_embedding_that_fits_no_chunk_is_refused_with_a_message(vectors):
    words = embedding_words({"big": vectors, "ok": 75}, TOKENIZER)
    assert list(words.refused) == ["big"]
    assert f"{vectors} vectors" in words.refused["big"]
    assert words.at(TOKENIZER.encode("big"), 0) is None


def test_a_refused_word_hides_no_other():
    assert found_in("bad hands", {"bad hands": 99, "bad": 1}) == ["bad"]


def test_a_name_without_tokens_matches_nothing():
    assert found_in("a b", {" ": 1}) == []
