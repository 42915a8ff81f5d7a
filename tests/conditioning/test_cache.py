"""The cache of states: a second picture encodes nothing, and no picture is ever a stale one (E002)."""

from __future__ import annotations

import functools
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.conditioning import CachedStates, Conditioning, ConditioningCache, Micro, encode, text_changes
from modules.conditioning.cache import StateKey
from modules.conditioning.clip import Row
from modules.conditioning.readings import readings
from modules.models import Model, Pass, WeightPatch, patched
from modules.prompt import BOS, EOS, EmbeddingSlot, Tokenizer, parse_prompt
from modules.sampling import Context

from .encoders import WIDTH_G, WIDTH_L
from .encoders import make_model as make_new_model

TOKENIZER = Tokenizer()
FAMILIES = ("sd1", "sd2", "sdxl", "sdxl_refiner")
STYLES = {
    seed: {
        "style": {
            "clip_l": torch.randn(2, WIDTH_L, generator=torch.Generator().manual_seed(seed)),
            "clip_g": torch.randn(2, WIDTH_G, generator=torch.Generator().manual_seed(seed)),
        }
    }
    for seed in (1, 2)
}


make_model = functools.cache(make_new_model)
"""A model that the tests share, which leave it as it is."""


def flat(conditionings: tuple[Conditioning, ...]) -> list[Any]:
    """All there is to compare, each tensor as its type, its shape and its bits."""
    return [
        (weight, until, *[None if part is None else bits(part) for part in context])
        for conditioning in conditionings
        for weight, entries in conditioning.parts
        for until, context in entries
    ]


def bits(tensor: torch.Tensor) -> tuple[torch.dtype, torch.Size, bytes]:
    return tensor.dtype, tensor.shape, tensor.contiguous().view(torch.uint8).numpy().tobytes()


@contextmanager
def counted(model: Model) -> Iterator[list[int]]:
    """How often the first text encoder runs."""
    runs: list[int] = []
    handle = model.text_encoder.encoder.layers[0].register_forward_hook(lambda *_: runs.append(1))
    try:
        yield runs
    finally:
        handle.remove()


def say(model: Model, text: str, cache: CachedStates | None = None, **given: Any) -> tuple[Conditioning, ...]:
    return encode(model, [parse_prompt(text, steps=4)], tokenizer=TOKENIZER, cache=cache, **given)


def test_a_second_picture_with_the_same_prompt_encodes_nothing() -> None:
    # E002
    cache = ConditioningCache()
    with counted(make_model("sd1")) as runs:
        say(make_model("sd1"), "a [cat|dog] AND a (hill:1.2)", cache.under(()))
        assert len(runs) == 3
        say(make_model("sd1"), "a [cat|dog] AND a (hill:1.2)", cache.under(()))
        assert len(runs) == 3


def test_another_weight_or_schedule_of_the_same_words_encodes_nothing() -> None:
    cache = ConditioningCache()
    with counted(make_model("sdxl")) as runs:
        say(make_model("sdxl"), "a (cat:1.2) AND a dog", cache.under(()), micro=Micro(64, 64))
        first = len(runs)
        say(make_model("sdxl"), "[a dog:a (cat:0.7):2] AND a dog:0.5", cache.under(()), micro=Micro(96, 64))
        say(make_model("sdxl"), "a dog", cache.under(()), emphasis="No norm", negative=True)
        assert len(runs) == first


# Every picture's sequence of requests: whatever came before, the answer is that of a fresh start.
requests = st.fixed_dictionaries(
    {
        "family": st.sampled_from(FAMILIES),
        "text": st.sampled_from(
            ["", "a cat", "a (cat:1.4)", "[a|b] style", "a style", "A cat,", "a BREAK cat", "cat:2 AND style"]
        ),
        "clip_skip": st.sampled_from([1, 2, 3]),
        "sdxl_clip_l_skip": st.booleans(),
        "emphasis": st.sampled_from(["Original", "No norm", "Ignore", "None"]),
        "negative": st.booleans(),
        "micro": st.sampled_from([Micro(64, 64), Micro(64, 96), Micro(64, 64, 8), Micro(64, 64, aesthetic_score=3.0)]),
        "style": st.sampled_from([None, 1, 2]),
        "changed": st.sampled_from([None, 0.5, 1.0]),
    }
)


def answer(request: dict[str, Any], cache: ConditioningCache | None) -> list[Any]:
    request = dict(request)
    model, text = make_model(request.pop("family")), request.pop("text")
    style, changed = request.pop("style"), request.pop("changed")
    patches = [] if changed is None else [louder(model, changed)]
    with patched(model, patches):
        cached = cache.under(text_changes(patches, Pass.BOTH)) if cache else None
        prompt = parse_prompt(text, steps=3, negative=request["negative"])
        return flat(encode(model, [prompt], tokenizer=TOKENIZER, embeddings=STYLES.get(style), cache=cached, **request))


def louder(model: Model, factor: float, on: Pass = Pass.BOTH) -> WeightPatch:
    part = "text_encoder" if model.text_encoder is not None else "text_encoder_2.text_model"
    target = f"{part}.encoder.layers.0.mlp.fc1.weight"
    return WeightPatch(target, lambda weight: weight * factor, ("louder", factor), on)


@settings(max_examples=25)
@given(st.lists(requests, min_size=2, max_size=5))
def test_whatever_came_before_the_answer_is_that_of_a_fresh_start(sequence: list[dict[str, Any]]) -> None:
    cache = ConditioningCache()
    for request in sequence:
        assert answer(request, cache) == answer(request, None)


def key(**changed: Any) -> StateKey:
    row = Row((BOS, 5, 0, EOS, *(EOS,) * 73), (EmbeddingSlot(1, "style", 1),))
    given = {"family": "sdxl", "row": row, "vectors": torch.ones(1, WIDTH_L), "changes": (), "which": 0} | changed
    reading = readings(make_model(given["family"], dtype=given.get("dtype", torch.float32)))[given["which"]]
    reading = replace(reading, **{name: given[name] for name in ("skip", "is_normed", "pad") if name in given})
    return StateKey.of(reading, given["row"], {"style": {"clip_l": given["vectors"]}}, given["changes"])


@pytest.mark.parametrize(
    "changed",
    [
        {"row": Row((BOS, 6, 0, EOS, *(EOS,) * 73), (EmbeddingSlot(1, "style", 1),))},
        {"row": Row((BOS, 5, 0, EOS, *(EOS,) * 73), (EmbeddingSlot(0, "style", 1),))},
        {"row": Row((BOS, 5, 0, EOS, *(EOS,) * 73), (EmbeddingSlot(1, "style", 2),))},
        {"row": Row((BOS, 5, 0, EOS, *(EOS,) * 73), ())},
        {"vectors": torch.zeros(1, WIDTH_L)},
        {"vectors": torch.ones(1, WIDTH_L + 1)},
        {"vectors": torch.ones(2, WIDTH_L)},
        {"vectors": torch.full((1, WIDTH_L), 1 + 2**-20)},
        {"changes": ("another", 0.5)},
        {"which": 1},
        {"skip": 1},
        {"is_normed": True},
        {"pad": 7},
        {"dtype": torch.bfloat16},
    ],
    ids=lambda changed: ",".join(changed),
)
def test_any_change_of_any_input_changes_the_key(changed: dict[str, Any]) -> None:
    # E002: a missing key would be a stale picture
    assert key() == key()
    assert key(**changed) != key()


def test_models_share_nothing() -> None:
    cache = ConditioningCache()
    one, other = make_model("sd1", seed=1), make_model("sd1", seed=2)
    assert flat(say(one, "a cat", cache.under(()))) != flat(say(other, "a cat", cache.under(())))


def test_a_model_that_goes_takes_its_states_along() -> None:
    cache = ConditioningCache()
    model = make_new_model("sd1")
    say(model, "a cat", cache.under(()))
    assert len(cache._kept) == 1
    del model
    gc.collect()
    assert len(cache._kept) == 0


def test_the_cache_is_bounded_and_keeps_what_was_used_last() -> None:
    row_bytes = 77 * WIDTH_L * 4
    cache, model = ConditioningCache(limit_bytes=3 * row_bytes), make_model("sd1")
    for word in ("one", "two", "three", "one", "four"):
        say(model, word, cache.under(()))
    assert cache.nbytes(model) <= 3 * row_bytes
    with counted(model) as runs:
        say(model, "one", cache.under(()))
        assert not runs
        say(model, "two", cache.under(()))
        assert runs


def test_a_prompt_larger_than_the_cache_is_encoded_all_the_same() -> None:
    got = say(make_model("sd1"), "cat " * 400, ConditioningCache(limit_bytes=1).under(()))
    assert flat(got) == flat(say(make_model("sd1"), "cat " * 400))


def test_what_networks_do_to_the_text_is_told_by_pass() -> None:
    model = make_model("sdxl")
    both, uncond = louder(model, 0.5), louder(model, 0.7, Pass.UNCOND)
    unet = WeightPatch("unet.conv_in.weight", lambda weight: weight, ("louder", 1))
    assert text_changes([unet], Pass.BOTH) == text_changes([], Pass.BOTH) == ()
    assert text_changes([both, unet, uncond], Pass.BOTH) == text_changes([both], Pass.BOTH)
    assert text_changes([both, uncond], Pass.UNCOND) != text_changes([both], Pass.UNCOND)
    assert text_changes([uncond, both], Pass.UNCOND) != text_changes([both, uncond], Pass.UNCOND)


def test_a_state_that_is_kept_is_not_changed_by_its_use() -> None:
    cache = ConditioningCache()
    (first,) = say(make_model("sdxl"), "a (cat:1.5)", cache.under(()))
    before = [context.tokens.clone() for _, context in first.at(0)]
    say(make_model("sdxl"), "a (cat:0.5)", cache.under(()))
    after: list[Context] = [context for _, context in say(make_model("sdxl"), "a (cat:1.5)", cache.under(()))[0].at(0)]
    assert all(torch.equal(a, b.tokens) for a, b in zip(before, after, strict=True))
