"""What encoding promises beyond the reference data."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from modules.conditioning import Conditioning, EmbeddingMisfit, encode
from modules.conditioning.emphasis import emphasise
from modules.models import Model, load
from modules.prompt import BOS, EOS, Tokenizer, parse_prompt

CHECKPOINT = Path(__file__).parents[1] / "data" / "golden" / "model" / "tiny_sd1.safetensors"


@pytest.fixture(scope="module")
def model() -> Model:
    return load(CHECKPOINT)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer()


def context(conditioning: Conditioning, step: int = 0, part: int = 0) -> torch.Tensor:
    return conditioning.at(step)[part][1].tokens


def test_a_prompt_is_the_same_whatever_else_is_encoded_with_it(model: Model, tokenizer: Tokenizer) -> None:
    texts = ["a (cat:1.4)", "", "a [dog] " * 60, "a (cat:1.4) AND a (dog:0.2):-1"]
    prompts = [parse_prompt(text, steps=4) for text in texts]
    together = encode(model, prompts, tokenizer=tokenizer)
    for prompt, one in zip(prompts, together, strict=True):
        (alone,) = encode(model, [prompt], tokenizer=tokenizer)
        for (weight, got), (expected_weight, expected) in zip(one.at(0), alone.at(0), strict=True):
            assert weight == expected_weight
            torch.testing.assert_close(got.tokens, expected.tokens, atol=1e-5, rtol=0)


def test_a_prompt_without_a_schedule_is_one_tensor_at_every_step(model: Model, tokenizer: Tokenizer) -> None:
    (got,) = encode(model, [parse_prompt("a cat", steps=5)], tokenizer=tokenizer)
    assert len({id(context(got, step)) for step in range(9)}) == 1


def test_a_schedule_switches_after_its_step_and_keeps_its_last_text(model: Model, tokenizer: Tokenizer) -> None:
    (got,) = encode(model, [parse_prompt("a [cat:dog:2]", steps=5)], tokenizer=tokenizer)
    (cat, dog) = encode(model, [parse_prompt(f"a {thing}", steps=5) for thing in ("cat", "dog")], tokenizer=tokenizer)
    for step in range(9):
        torch.testing.assert_close(context(got, step), context(cat if step <= 2 else dog), atol=1e-5, rtol=0)


def test_equal_texts_of_an_alternation_are_one_tensor(model: Model, tokenizer: Tokenizer) -> None:
    (got,) = encode(model, [parse_prompt("[cat|dog]", steps=8)], tokenizer=tokenizer)
    assert len({id(context(got, step)) for step in range(9)}) == 2


def test_parts_keep_their_weights(model: Model, tokenizer: Tokenizer) -> None:
    (got,) = encode(model, [parse_prompt("a cat AND a dog :-0.5", steps=4)], tokenizer=tokenizer)
    assert [weight for weight, _ in got.at(0)] == [1.0, -0.5]


def test_ten_thousand_words_are_encoded(model: Model, tokenizer: Tokenizer) -> None:
    (got,) = encode(model, [parse_prompt("cat " * 10_000, steps=4)], tokenizer=tokenizer)
    assert context(got).shape == (134 * 77, 64)
    assert context(got).isfinite().all()


def test_encoding_changes_neither_the_table_nor_the_tokens_of_a_word(model: Model, tokenizer: Tokenizer) -> None:
    before = model.text_encoder.embeddings.token_embedding.weight.clone()
    prompt = parse_prompt("a cat", steps=4)
    (plain,) = encode(model, [prompt], tokenizer=tokenizer)
    cat = {"cat": {"clip_l": torch.randn(3, 64)}}
    (with_vectors,) = encode(model, [prompt], tokenizer=tokenizer, embeddings=cat)
    (again,) = encode(model, [prompt], tokenizer=tokenizer)
    assert not torch.equal(context(plain), context(with_vectors))
    assert torch.equal(context(plain), context(again))
    assert torch.equal(model.text_encoder.embeddings.token_embedding.weight, before)


def test_the_vectors_of_a_words_own_tokens_change_nothing(model: Model, tokenizer: Tokenizer) -> None:
    table = model.text_encoder.embeddings.token_embedding.weight
    own = {"cat dog": {"clip_l": table[list(tokenizer.encode("cat dog"))].half()}}
    prompt = parse_prompt("a (cat dog:1.3), red", steps=4)
    plain, named = (encode(model, [prompt], tokenizer=tokenizer, embeddings=given)[0] for given in ({}, own))
    torch.testing.assert_close(context(named), context(plain), atol=1e-3, rtol=0)


def test_an_embedding_of_another_width_is_refused_by_name(model: Model, tokenizer: Tokenizer) -> None:
    wide = {"cat": {"clip_l": torch.randn(1, 768)}}
    with pytest.raises(EmbeddingMisfit, match=r'"cat".*768.*64'):
        encode(model, [parse_prompt("a cat", steps=4)], tokenizer=tokenizer, embeddings=wide)


def test_clip_skip_beyond_the_encoder_is_its_first_state(model: Model, tokenizer: Tokenizer) -> None:
    prompt = [parse_prompt("a cat", steps=4)]
    (four,), (twelve,) = (encode(model, prompt, tokenizer=tokenizer, clip_skip=skip) for skip in (4, 12))
    assert torch.equal(context(four), context(twelve))


def test_a_mean_of_zero_is_left_alone() -> None:
    states = torch.tensor([[[1.0], [1.0]]])
    got = emphasise(states, torch.tensor([[1.0, -1.0]]), torch.tensor([1]), "Original")
    assert torch.equal(got, torch.tensor([[[1.0], [-1.0]]]))


def test_repeated_texts_weigh_in_the_mean_as_often_as_they_occur() -> None:
    states = torch.randn(2, 77, 8, generator=torch.Generator().manual_seed(1)) + 0.5
    weights = 0.5 + torch.rand(2, 77, generator=torch.Generator().manual_seed(2))
    counted = emphasise(states, weights, torch.tensor([1, 3]), "Original")
    index = torch.tensor([0, 1, 1, 1])
    spelled = emphasise(states[index], weights[index], torch.ones(4), "Original")
    torch.testing.assert_close(spelled[:2], counted)


def test_emphasis_restores_the_mean_over_every_text_of_one_schedule(model: Model, tokenizer: Tokenizer) -> None:
    # P022: all variants of a prompt influence each other's scale, other prompts do not
    texts = ("a (cat:1.8)", "a cat")
    plain, weighted = (
        torch.stack([context(found) for found in encode(model, prompts, tokenizer=tokenizer, emphasis=mode)])
        for mode in ("Ignore", "No norm")
        for prompts in [[parse_prompt(text, steps=4) for text in texts]]
    )
    (got,) = encode(model, [parse_prompt("a [(cat:1.8):cat:2]", steps=4)], tokenizer=tokenizer)
    expected = weighted * (plain.mean() / weighted.mean())
    torch.testing.assert_close(torch.stack([context(got, 0), context(got, 4)]), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("skip", [1, 2, 3])
def test_clip_skip_reads_an_earlier_layer_and_keeps_the_final_norm(
    skip: int, model: Model, tokenizer: Tokenizer
) -> None:
    # P086
    (got,) = encode(model, [parse_prompt("a cat", steps=4)], tokenizer=tokenizer, clip_skip=skip)
    ids = torch.tensor([[BOS, *tokenizer.encode("a cat"), *(EOS,) * 74]])
    with torch.no_grad():
        states = model.text_encoder(ids, output_hidden_states=True).hidden_states
        expected = model.text_encoder.final_layer_norm(states[-skip])[0]
    torch.testing.assert_close(context(got), expected, atol=1e-5, rtol=0)


def test_what_the_old_way_of_emphasis_cuts_off_is_told_once(model: Model, tokenizer: Tokenizer) -> None:
    # P024
    told: list[str] = []
    prompts = [parse_prompt("cat " * 75 + "(dog)", steps=4), parse_prompt("[a|b]", steps=4)]
    found = encode(model, prompts, tokenizer=tokenizer, old_emphasis=True, tell=told.append)
    assert context(found[0]).shape == (77, 64)
    assert len(told) == 1 and told[0].endswith(": dog")


def test_break_within_a_group_is_a_break(model: Model, tokenizer: Tokenizer) -> None:
    # P047
    texts = ("red (cat BREAK dog:1.3)", "red (cat:1.3) BREAK (dog:1.3)")
    one, other = encode(model, [parse_prompt(text, steps=4) for text in texts], tokenizer=tokenizer)
    assert torch.equal(context(one), context(other)) and len(context(one)) == 2 * 77


def test_equal_texts_in_different_parts_are_encoded_once(model: Model, tokenizer: Tokenizer) -> None:
    # P044
    (got,) = encode(model, [parse_prompt("b AND a AND a", steps=4)], tokenizer=tokenizer)
    assert context(got, part=1) is context(got, part=2)


def test_a_prompt_with_fewer_chunks_than_its_other_variants_has_empty_ones(model: Model, tokenizer: Tokenizer) -> None:
    # P080: within one schedule; prompts of different length meet in guidance
    (got,) = encode(model, [parse_prompt("[a:b BREAK c:2]", steps=4)], tokenizer=tokenizer)
    a, nothing = encode(model, [parse_prompt(text, steps=4) for text in ("a", "")], tokenizer=tokenizer)
    assert torch.equal(context(got, 0), torch.cat([context(a), context(nothing)]))
