"""Chunks against the reference, and the laws that hold for every prompt."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.prompt import BOS, EMPTY_CHUNK, EOS, EmbeddingSlot, Segment, Tokenizer, chunk, parse_attention

GOLDEN = json.loads((Path(__file__).parents[1] / "data/golden/cond.json").read_text("utf-8"))
EMBEDDINGS = {name: found["vectors"] for name, found in GOLDEN["embeddings"]["loaded"].items()}
CASES = [(case, variant) for case in GOLDEN["prompts"] for variant in case["chunks"]]
TOKENIZER = Tokenizer()

texts = st.lists(st.sampled_from(["cat ", ", ", "tipt3 ", "tibig30 ", "(dog:1.3) ", "BREAK ", "[x] "]), max_size=120)


def as_reference(found):
    return [
        {
            "tokens": list(row.tokens),
            "multipliers": list(row.weights),
            "fixes": [[slot.offset, slot.name, slot.vectors] for slot in row.embeddings],
        }
        for row in found.chunks
    ]


def padded(*rows):
    """Rows of (token, weight) as reference chunks."""
    return [
        {
            "tokens": [BOS, *(token for token, _ in row), *[EOS] * (76 - len(row))],
            "multipliers": [1.0, *(weight for _, weight in row), *[1.0] * (76 - len(row))],
            "fixes": [],
        }
        for row in rows
    ]


@pytest.mark.parametrize(("case", "variant"), CASES, ids=lambda x: x if isinstance(x, str) else str(x["i"]))
def test_chunks_are_those_of_the_reference(case, variant):
    mode, _, backtrack = variant.partition("/backtrack")
    found = chunk(parse_attention(case["prompt"], mode), TOKENIZER, EMBEDDINGS, int(backtrack))
    expected = case["chunks"][variant]["chunks"]
    count = case["chunks"][variant]["token_count"]
    if case["prompt"] == "red (cat BREAK dog:1.3) end" and mode == "Original":
        # P047: BREAK inside a weighted group is a real break here; the ancestor reads it as a word of weight -1.3.
        expected, count = padded([(736, 1.0), (2368, 1.3)], [(1929, 1.3), (806, 1.0)]), 77
    assert as_reference(found) == expected
    assert found.token_count == count


def test_the_names_of_embeddings_have_the_reference_ids():
    for name, found in GOLDEN["embeddings"]["loaded"].items():
        assert list(TOKENIZER.encode(name)) == found["name_token_ids"]


def test_an_empty_prompt_is_one_empty_chunk():
    assert chunk(parse_attention(""), TOKENIZER).chunks == (EMPTY_CHUNK,)


def test_break_in_a_weighted_group_ends_the_chunk_and_keeps_the_weight():
    first, second = chunk(parse_attention("(a BREAK b:1.2)"), TOKENIZER).chunks
    assert first.weights[1] == second.weights[1] == 1.2


def test_an_embedding_stays_behind_where_its_phrase_moves_to_the_next_chunk():
    # P082: as A1111 has it: its vectors lie on padding, and token 0 is encoded where they would have been
    phrase = "cat " * 70 + ", (tipt3:1.5) x dog"
    first, second = chunk(parse_attention(phrase), TOKENIZER, {"tipt3": 3}).chunks
    assert first.tokens[71] == 267 and set(first.tokens[72:]) == {EOS}
    assert first.weights[72:] == (1.0,) * 5
    assert first.embeddings == (EmbeddingSlot(71, "tipt3", 3),)
    x, dog = TOKENIZER.encode("x dog")
    assert second.tokens[1:6] == (0, 0, 0, x, dog)
    assert second.weights[1:5] == (1.5, 1.5, 1.5, 1.0)
    assert second.embeddings == ()


@given(texts, st.integers(0, 74))
def test_every_chunk_is_77_tokens_and_no_embedding_is_lost_or_torn(words, backtrack):
    text = "".join(words)
    found = chunk(parse_attention(text), TOKENIZER, EMBEDDINGS, backtrack)
    for row in found.chunks:
        assert len(row.tokens) == len(row.weights) == 77
        assert row.tokens[0] == BOS and row.tokens[-1] == EOS
        assert all(slot.offset + slot.vectors <= 75 for slot in row.embeddings)
    named = [slot.name for row in found.chunks for slot in row.embeddings]
    assert named == [word.strip() for word in words if word.strip() in EMBEDDINGS]


@given(texts, st.integers(0, 74))
def test_cutting_loses_and_adds_no_token(words, backtrack):
    segments = parse_attention("".join(words))
    found = chunk(segments, TOKENIZER, {}, backtrack)
    kept = [token for row in found.chunks for token in row.tokens if token not in (BOS, EOS)]
    assert kept == [token for part in segments if isinstance(part, Segment) for token in TOKENIZER.encode(part.text)]


@given(st.text(), st.integers(0, 74))
def test_any_text_can_be_cut(text, backtrack):
    assert chunk(parse_attention(text), TOKENIZER, EMBEDDINGS, backtrack).chunks
