"""Conditioning is what A1111 computes, for every prompt, emphasis mode and clip skip of the reference data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from modules.conditioning import Conditioning, Vectors, encode
from modules.models import Model, load
from modules.prompt import ParsedPrompt, Scheduled, Tokenizer, parse_prompt

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
CASES = json.loads((GOLDEN / "cond.json").read_text(encoding="utf-8"))
ARRAYS = np.load(GOLDEN / "cond.npz")
KEYS = [key for key in ARRAYS.files if key.count("/") == 2]
OLD_KEYS = [key for key in ARRAYS.files if key.endswith("/oldemph")]
# A1111 reads BREAK inside a weighted group as a word of weight -1.3; Tagbrush as a break (behaviour P047).
BREAK_IN_A_GROUP, SPELLED_OUT = "red (cat BREAK dog:1.3) end", "red (cat:1.3) BREAK (dog:1.3) end"
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def model() -> Model:
    return load(GOLDEN / "model" / "tiny_sd1.safetensors")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer()


@pytest.fixture(scope="module")
def embeddings() -> dict[str, Vectors]:
    arrays = np.load(GOLDEN / "embedding_vectors.npz")
    return {name: {"clip_l": torch.from_numpy(arrays[name])} for name in CASES["embeddings"]["loaded"]}


def relative_error(got: torch.Tensor, wanted: np.ndarray) -> float:
    expected = torch.from_numpy(wanted)
    assert got.shape == expected.shape
    return ((got - expected).norm() / expected.norm()).item()


def only_part(conditioning: tuple[Conditioning, ...]) -> list[torch.Tensor]:
    ((part,),) = [single.parts for single in conditioning]
    return [context.tokens for _, context in part[1]]


def literal(*texts: str) -> ParsedPrompt:
    """The texts as the schedule of one part, with nothing of the prompt language before attention read."""
    return ParsedPrompt("", ((1.0, tuple(Scheduled(index, text) for index, text in enumerate(texts))),))


@pytest.mark.parametrize("key", KEYS)
def test_a_prompt_alone(key: str, model: Model, tokenizer: Tokenizer, embeddings: dict[str, Vectors]) -> None:
    index, emphasis, skip = key.split("/")
    text = CASES["prompts"][int(index)]["prompt"]
    given = {"emphasis": emphasis, "clip_skip": int(skip.removeprefix("skip"))}
    (got,) = only_part(encode(model, [literal(text)], tokenizer=tokenizer, embeddings=embeddings, **given))
    expected = ARRAYS[key]
    if text == BREAK_IN_A_GROUP and emphasis != "None":
        (spelled,) = only_part(encode(model, [literal(SPELLED_OUT)], tokenizer=tokenizer, **given))
        expected = spelled.numpy()
    assert relative_error(got, expected) < TOLERANCE


def test_all_the_reference_data_is_used() -> None:
    others = {"schedule", *(f"batch{index}" for index in range(len(CASES["batches"])))}
    assert {*KEYS, *OLD_KEYS, *others} == set(ARRAYS.files)


@pytest.mark.parametrize("key", OLD_KEYS)
def test_a_prompt_alone_with_the_old_way_of_emphasis(
    key: str, model: Model, tokenizer: Tokenizer, embeddings: dict[str, Vectors]
) -> None:
    prompt = literal(CASES["prompts"][int(key.split("/")[0])]["prompt"])
    (got,) = only_part(encode(model, [prompt], tokenizer=tokenizer, embeddings=embeddings, old_emphasis=True))
    assert relative_error(got, ARRAYS[key]) < TOLERANCE


@pytest.mark.parametrize("index", range(len(CASES["batches"])))
def test_texts_encoded_in_one_call_share_their_mean_and_length(
    index: int, model: Model, tokenizer: Tokenizer, embeddings: dict[str, Vectors]
) -> None:
    prompt = literal(*CASES["batches"][index])
    got = only_part(encode(model, [prompt], tokenizer=tokenizer, embeddings=embeddings))
    assert relative_error(torch.stack(got), ARRAYS[f"batch{index}"]) < TOLERANCE


def test_a_schedule(model: Model, tokenizer: Tokenizer) -> None:
    case = CASES["schedule"]
    prompt = parse_prompt(case["prompt"], steps=case["steps"])
    (conditioning,) = encode(model, [prompt], tokenizer=tokenizer)
    assert [until for until, _ in conditioning.parts[0][1]] == case["end_at_step"]
    assert relative_error(torch.stack(only_part((conditioning,))), ARRAYS["schedule"]) < TOLERANCE
