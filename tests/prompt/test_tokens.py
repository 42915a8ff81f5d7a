from __future__ import annotations

import unicodedata
from itertools import pairwise

import ftfy
import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from modules.prompt import BOS, EOS, Tokenizer
from modules.prompt.tokens import MERGES, _byte_letters, _read_merges, _vocabulary

TOKENIZER = Tokenizer()
PATTERN = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+", regex.IGNORECASE)
MERGE_LIST = _read_merges(MERGES)
RANKS = {pair: rank for rank, pair in enumerate(MERGE_LIST)}
PRINTABLE = [ord(letter) for letter in list(_byte_letters())[:188]]
LETTERS = dict(zip(PRINTABLE + [byte for byte in range(256) if byte not in PRINTABLE], _byte_letters(), strict=True))
IDS = {token: index for index, token in enumerate(_vocabulary(MERGE_LIST))}


def merged_by_hand(word: str) -> list[str]:
    """Byte-pair encoding as the textbook has it: merge the pair of the lowest rank until none is left."""
    parts = [LETTERS[byte] for byte in word.encode()]
    parts[-1] += "</w>"
    while len(parts) > 1:
        rank = min(RANKS.get(pair, len(RANKS)) for pair in pairwise(parts))
        if rank == len(RANKS):
            break
        pair = MERGE_LIST[rank]
        joined, index = [], 0
        while index < len(parts):
            found = tuple(parts[index : index + 2]) == pair
            joined.append("".join(pair) if found else parts[index])
            index += 2 if found else 1
        parts = joined
    return parts


def ordinary(text: str) -> bool:
    """No markers, which are cut out first, and no characters that Unicode tables of different years disagree on."""
    return "<|" not in text and all(unicodedata.category(letter) not in ("Cn", "Cs") for letter in text)


@given(st.text(max_size=40).filter(ordinary))
def test_every_text_has_the_tokens_of_the_textbook_algorithm(text):
    cleaned = " ".join(ftfy.fix_text(text).split()).lower()
    expected = [IDS[part] for word in PATTERN.findall(cleaned) for part in merged_by_hand(word)]
    assert list(TOKENIZER.encode(text)) == expected


def test_the_vocabulary_is_clips():
    assert len(IDS) == 49408
    assert (IDS["<|startoftext|>"], IDS["<|endoftext|>"]) == (BOS, EOS) == (49406, 49407)


def test_a_sentence_has_the_ids_that_clip_publishes():
    assert TOKENIZER.encode("a diagram") == (320, 22697)
    assert TOKENIZER.encode("Hello, world!") == (3306, 267, 1002, 256)


def test_case_white_space_and_mojibake_do_not_matter():
    assert TOKENIZER.encode("  Schöne\n\tKATZE ") == TOKENIZER.encode("schöne katze")
    assert TOKENIZER.encode("schÃ¶ne katze") == TOKENIZER.encode("schöne katze")


def test_the_end_marker_can_be_written():
    assert TOKENIZER.encode("<|endoftext|> x") == (EOS, 343)


@pytest.mark.parametrize("words", ["cat, ünï don't ", "日本語 ", "x" * 1_999 + " ", "a" * 5_000 + " b! "])
def test_a_long_text_has_the_tokens_of_its_words(words):
    times = 60_000 // len(words)
    assert TOKENIZER.encode(words * times) == TOKENIZER.encode(words) * times


def test_ids_are_words_again():
    assert (
        TOKENIZER.decode(TOKENIZER.encode("A  Photo, ünï 日本語 (1.5) don't"))
        == "a photo , ünï 日本語 ( 1 . 5 ) don 't"
    )
    assert TOKENIZER.decode(()) == ""


def test_counting_is_the_length():
    assert TOKENIZER.count("a photo of a cat") == 5


@given(st.text())
def test_any_text_has_ids_within_the_vocabulary(text):
    assert all(0 <= token < 49408 for token in TOKENIZER.encode(text))


def test_lone_surrogates_are_survived():
    assert TOKENIZER.encode("a \ud800 b")


def test_making_a_tokenizer_reads_nothing(monkeypatch):
    def read(path):
        raise RuntimeError(f"{path.name} was read")

    monkeypatch.setattr("modules.prompt.tokens._read_merges", read)
    made = Tokenizer()
    with pytest.raises(RuntimeError, match="was read"):
        made.encode("a cat")
