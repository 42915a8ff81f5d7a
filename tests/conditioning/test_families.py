"""SD 2, SDXL and its refiner: what each text encoder is read for, against transformers' own forward."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from modules.conditioning import (
    Conditioning,
    EmbeddingMisfit,
    Micro,
    NoTextEncoder,
    OldEmphasisMisfit,
    encode,
)
from modules.models import Model
from modules.prompt import BOS, EOS, Tokenizer, parse_prompt
from modules.sampling import Context

from .encoders import LAYERS_L, PROJECTION, WIDTH_G, WIDTH_L, make_model

CLOSE = {"atol": 2e-5, "rtol": 1e-5}  # float32, other order of sums in attention


@pytest.fixture(scope="module")
def sd2() -> Model:
    return make_model("sd2")


@pytest.fixture(scope="module")
def sdxl() -> Model:
    return make_model("sdxl")


@pytest.fixture(scope="module")
def refiner() -> Model:
    return make_model("sdxl_refiner")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer()


def row(tokenizer: Tokenizer, text: str, pad: int) -> torch.Tensor:
    """(1, 77) token ids of a short text."""
    ids = [BOS, *tokenizer.encode(text), EOS]
    return torch.tensor([ids + [pad] * (77 - len(ids))])


def states(encoder: torch.nn.Module, ids: torch.Tensor) -> Sequence[torch.Tensor]:
    """Each layer's (77, width), from the embeddings' on, as transformers gives them."""
    with torch.no_grad():
        return [state[0] for state in encoder(ids, output_hidden_states=True).hidden_states]


def pooled(encoder: torch.nn.Module, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return encoder(ids).text_embeds[0]


def contexts(model: Model, tokenizer: Tokenizer, text: str, **given: object) -> list[Context]:
    prompt = parse_prompt(text, steps=4, negative=bool(given.get("negative")))
    (conditioning,) = encode(model, [prompt], tokenizer=tokenizer, **given)
    return [context for _, entries in conditioning.parts for _, context in entries]


def context(model: Model, tokenizer: Tokenizer, text: str, **given: object) -> Context:
    return contexts(model, tokenizer, text, **given)[0]


@pytest.mark.parametrize("text", ["", "a photo of a cat", "<|endoftext|> cat"])
def test_sd2_reads_its_last_layer_after_the_final_norm_and_pads_with_zero(
    text: str, sd2: Model, tokenizer: Tokenizer
) -> None:
    # P081, P086: the layer its UNet never saw is not even loaded
    ids = row(tokenizer, text, pad=0)
    if text.startswith("<|"):
        ids[0, 2:] = 0  # what stands after the first EOS is padding
    with torch.no_grad():
        expected = sd2.text_encoder(ids).last_hidden_state[0]
    torch.testing.assert_close(context(sd2, tokenizer, text).tokens, expected, **CLOSE)


@pytest.mark.parametrize("skip", [1, 2, 5, 12])
def test_clip_skip_means_nothing_to_sd2_sdxl_and_the_refiner(skip: int, tokenizer: Tokenizer) -> None:
    # P086
    for family in ("sd2", "sdxl", "sdxl_refiner"):
        model = make_model(family)
        usual, skipped = (context(model, tokenizer, "a cat", clip_skip=skip) for skip in (1, skip))
        assert torch.equal(usual.tokens, skipped.tokens)


def test_sdxl_joins_the_last_layers_but_one_of_both_encoders_without_norm(sdxl: Model, tokenizer: Tokenizer) -> None:
    # P086
    text = "a photo of a cat"
    first = states(sdxl.text_encoder, row(tokenizer, text, pad=EOS))[-2]
    second = states(sdxl.text_encoder_2, row(tokenizer, text, pad=0))[-2]
    got = context(sdxl, tokenizer, text)
    assert got.tokens.shape == (77, WIDTH_L + WIDTH_G)
    torch.testing.assert_close(got.tokens, torch.cat([first, second], dim=-1), **CLOSE)


def test_sdxls_whole_vector_is_the_projected_last_state_of_the_second_encoder(
    sdxl: Model, tokenizer: Tokenizer
) -> None:
    text = "a photo of a cat"
    got = context(sdxl, tokenizer, text)
    assert got.pooled is not None and got.pooled.shape == (PROJECTION,)
    torch.testing.assert_close(got.pooled, pooled(sdxl.text_encoder_2, row(tokenizer, text, pad=0)), **CLOSE)


@pytest.mark.parametrize("skip", range(1, LAYERS_L + 1))
def test_sdxl_clip_l_skip_lets_clip_skip_choose_the_first_encoders_layer(
    skip: int, sdxl: Model, tokenizer: Tokenizer
) -> None:
    # P086: raw, without norm; the second encoder stays as it is
    first = states(sdxl.text_encoder, row(tokenizer, "a cat", pad=EOS))[-skip]
    usual = context(sdxl, tokenizer, "a cat").tokens
    got = context(sdxl, tokenizer, "a cat", clip_skip=skip, sdxl_clip_l_skip=True).tokens
    torch.testing.assert_close(got[:, :WIDTH_L], first, **CLOSE)
    assert torch.equal(got[:, WIDTH_L:], usual[:, WIDTH_L:])


def test_the_whole_vector_is_that_of_the_first_chunk_and_unweighted(sdxl: Model, tokenizer: Tokenizer) -> None:
    # P023
    plain = context(sdxl, tokenizer, "a cat")
    for text in ("a cat BREAK a dog", "(a cat:1.5)", "a (cat:1.5) BREAK (a dog:0.2)"):
        assert torch.equal(context(sdxl, tokenizer, text).pooled, plain.pooled)
    assert not torch.equal(context(sdxl, tokenizer, "a dog BREAK a cat").pooled, plain.pooled)


def test_emphasis_keeps_the_mean_of_each_encoder_by_itself(sdxl: Model, tokenizer: Tokenizer) -> None:
    # P022: the mean is over one encoder's tensor, before the outputs are joined
    plain = context(sdxl, tokenizer, "a cat").tokens
    weights = torch.ones(77, 1)
    weights[2] = 1.7  # BOS, a, cat
    parts = []
    for part in plain.split([WIDTH_L, WIDTH_G], dim=-1):
        weighted = part * weights
        parts.append(weighted * (part.mean() / weighted.mean()))
    torch.testing.assert_close(context(sdxl, tokenizer, "a (cat:1.7)").tokens, torch.cat(parts, dim=-1), **CLOSE)
    no_norm = context(sdxl, tokenizer, "a (cat:1.7)", emphasis="No norm").tokens
    torch.testing.assert_close(no_norm, plain * weights, **CLOSE)


def test_each_encoder_reads_its_own_vectors_of_an_embedding(sdxl: Model, tokenizer: Tokenizer) -> None:
    # P092
    torch.manual_seed(2)
    vectors = {"clip_l": torch.randn(3, WIDTH_L), "clip_g": torch.randn(3, WIDTH_G)}
    got = context(sdxl, tokenizer, "a style", embeddings={"style": vectors})
    expected = []
    for encoder, name, pad in (
        (sdxl.text_encoder, "clip_l", EOS),
        (sdxl.text_encoder_2, "clip_g", 0),
    ):
        ids = torch.tensor([[BOS, *tokenizer.encode("a"), 1, 2, 3, EOS, *[pad] * 71]])
        table = encoder.get_input_embeddings()
        own = table.weight.data.clone()
        try:
            table.weight.data[1:4] = vectors[name]
            expected.append(states(encoder, ids)[-2])
            if name == "clip_g":
                torch.testing.assert_close(got.pooled, pooled(encoder, ids), **CLOSE)
        finally:
            table.weight.data = own
    torch.testing.assert_close(got.tokens, torch.cat(expected, dim=-1), **CLOSE)


def test_an_embedding_without_vectors_for_an_encoder_is_refused_by_name(sdxl: Model, tokenizer: Tokenizer) -> None:
    # P095
    with pytest.raises(EmbeddingMisfit, match=r'"style".*16.*24.*clip_g'):
        context(sdxl, tokenizer, "a style", embeddings={"style": {"clip_l": torch.randn(1, WIDTH_L)}})


def test_the_refiner_reads_the_second_encoder_alone(refiner: Model, tokenizer: Tokenizer) -> None:
    ids = row(tokenizer, "a cat", pad=0)
    got = context(refiner, tokenizer, "a cat")
    torch.testing.assert_close(got.tokens, states(refiner.text_encoder_2, ids)[-2], **CLOSE)
    torch.testing.assert_close(got.pooled, pooled(refiner.text_encoder_2, ids), **CLOSE)


def test_sdxl_is_told_the_size_the_crop_and_the_size_again(sdxl: Model, tokenizer: Tokenizer) -> None:
    # P087: height before width, top before left
    micro = Micro(width=640, height=832, crop_top=8, crop_left=16)
    assert context(sdxl, tokenizer, "a cat", micro=micro).time_ids.tolist() == [832, 640, 8, 16, 832, 640]


def test_the_refiner_is_told_a_score_in_place_of_the_second_size(refiner: Model, tokenizer: Tokenizer) -> None:
    # P087: 6.0 for the prompt, 2.5 for the negative prompt
    micro = Micro(width=640, height=832, crop_top=8, crop_left=16)
    assert context(refiner, tokenizer, "a cat", micro=micro).time_ids.tolist() == [832, 640, 8, 16, 6.0]
    assert context(refiner, tokenizer, "a", micro=micro, negative=True).time_ids.tolist() == [832, 640, 8, 16, 2.5]
    scored = Micro(width=640, height=832, aesthetic_score=7.5)
    assert context(refiner, tokenizer, "a cat", micro=scored).time_ids.tolist() == [832, 640, 0, 0, 7.5]


def test_sd1_and_sd2_are_told_neither_sizes_nor_a_whole_vector(sd2: Model, tokenizer: Tokenizer) -> None:
    for model in (sd2, make_model("sd1")):
        got = context(model, tokenizer, "a cat", micro=Micro(64, 64))
        assert got.pooled is None and got.time_ids is None


@pytest.mark.parametrize("family", ["sdxl", "sdxl_refiner"])
@pytest.mark.parametrize("text", ["", "[::2]", "[|]"])
def test_a_negative_prompt_of_nothing_is_zeros_but_for_the_sizes(family: str, text: str, tokenizer: Tokenizer) -> None:
    # P087: every variant is exactly ''; A1111 hands sgm force_zero_embeddings=["txt"], so the whole vector too
    micro = Micro(640, 832)
    for got in contexts(make_model(family), tokenizer, text, negative=True, micro=micro):
        assert not got.tokens.any() and not got.pooled.any()
        assert got.time_ids.tolist()[:2] == [832, 640]


@pytest.mark.parametrize("text", [" ", "a", "[a::2]", "<lora:x:1>", "# a"])
def test_a_negative_prompt_of_almost_nothing_is_encoded(text: str, sdxl: Model, tokenizer: Tokenizer) -> None:
    # P087: a space or a tag is something
    for got in contexts(sdxl, tokenizer, text, negative=True):
        assert got.tokens.any() and got.pooled.any()


def test_an_empty_prompt_is_encoded(sdxl: Model, tokenizer: Tokenizer) -> None:
    assert context(sdxl, tokenizer, "").tokens.any()
    nothing = context(make_model("sd1"), tokenizer, "", negative=True)
    assert nothing.tokens.any()  # SD 1 was never trained on zeros


def test_pictures_of_one_batch_are_silent_each_for_itself(sdxl: Model, tokenizer: Tokenizer) -> None:
    prompts = [parse_prompt(text, steps=4, negative=True) for text in ("", "a dog")]
    silent, dog = encode(sdxl, prompts, tokenizer=tokenizer, negative=True)
    assert not _tokens(silent).any() and _tokens(dog).any()


def _tokens(conditioning: Conditioning) -> torch.Tensor:
    return conditioning.at(0)[0][1].tokens


@pytest.mark.parametrize("family", ["sd2", "sdxl", "sdxl_refiner"])
def test_the_old_way_of_emphasis_is_refused_for_models_that_came_after_it(family: str, tokenizer: Tokenizer) -> None:
    # P024
    with pytest.raises(OldEmphasisMisfit, match="use_old_emphasis_implementation"):
        context(make_model(family), tokenizer, "a cat", old_emphasis=True)


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_a_checkpoint_without_a_text_encoder_says_so(family: str, tokenizer: Tokenizer) -> None:
    model = make_model(family)
    object.__setattr__(model, "text_encoder" if family == "sd1" else "text_encoder_2", None)
    with pytest.raises(NoTextEncoder, match=r"model\.safetensors has no text encoder"):
        context(model, tokenizer, "a cat")


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl", "sdxl_refiner"])
def test_a_context_is_in_the_models_number_type(family: str, tokenizer: Tokenizer) -> None:
    got = context(make_model(family, dtype=torch.bfloat16), tokenizer, "a (cat:1.3)")
    assert got.tokens.dtype is torch.bfloat16
    assert got.pooled is None or got.pooled.dtype is torch.bfloat16
