"""Every prompt of the reference data, phase by phase, against A1111 v1.10.1."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modules.prompt import Break, extract_tags, parse_attention, parse_prompt, schedule, split_and
from modules.prompt.tags import Tag

GOLDEN = json.loads((Path(__file__).parents[1] / "data/golden/prompts.json").read_text("utf-8"))
CASES = GOLDEN["cases"]
SCHEDULES = [(case, name) for case in CASES for name in case["schedules"]]


def name(case) -> str:
    return ascii(case["prompt"])[:60]


def test_all_126_prompts_are_here():
    assert len(CASES) == 126


@pytest.mark.parametrize("case", CASES, ids=name)
def test_attention_gives_the_reference_segments(case):
    expected = case["attention"]
    if isinstance(expected, dict):
        # P018: the ancestor raises on `(a:1.2.3)`; here a malformed number is literal text.
        assert expected["exception"] == "ValueError"
        expected = [["a:1.2.3", 1.1]]
    # P047: the ancestor multiplies BREAK's own -1 by the weight around it, so that it is a word; here it stays BREAK.
    expected = ["BREAK" if text == "BREAK" and weight < 0 else (text, weight) for text, weight in expected]
    found = parse_attention(case["prompt"])
    assert ["BREAK" if isinstance(part, Break) else (part.text, part.weight) for part in found] == expected


@pytest.mark.parametrize(("case", "arguments"), SCHEDULES, ids=lambda x: x if isinstance(x, str) else name(x))
def test_schedules_give_the_reference_texts(case, arguments):
    steps, hires_steps, old = GOLDEN["schedule_args"][arguments]
    found = schedule(case["prompt"], steps, hires_steps=hires_steps, old=old)
    assert [[entry.until, entry.text] for entry in found] == case["schedules"][arguments]


def assert_parts_equal(prompts, indexes, flat):
    found = [[(part.text, part.weight) for part in split_and(prompt)] for prompt in prompts]
    assert found == [[(flat[index], weight) for index, weight in parts] for parts in indexes]


@pytest.mark.parametrize("case", CASES, ids=name)
def test_and_gives_the_reference_parts(case):
    assert_parts_equal([case["prompt"]], case["multicond"]["indexes"], case["multicond"]["flat"])


def test_and_gives_the_reference_parts_of_a_batch():
    batch = GOLDEN["multicond_batch"]
    assert_parts_equal(batch["prompts"], batch["indexes"], batch["flat"])


@pytest.mark.parametrize("case", CASES, ids=name)
def test_tags_are_those_of_the_reference(case):
    expected = case["extra_networks"]
    text, tags = extract_tags(case["prompt"])
    assert text == expected["text"]
    by_kind: dict[str, list[Tag]] = {}
    for tag in tags:
        by_kind.setdefault(tag.kind, []).append(tag)
    assert {kind: [as_reference(tag) for tag in found] for kind, found in by_kind.items()} == {
        kind: [{"positional": use["positional"], "named": use["named"]} for use in uses]
        for kind, uses in expected["networks"].items()
    }


def as_reference(tag: Tag) -> dict[str, object]:
    return {"positional": list(tag.args), "named": dict(tag.named)}


@pytest.mark.parametrize("case", CASES, ids=name)
def test_the_whole_prompt_is_the_sum_of_its_phases(case):
    plain, tags = extract_tags(case["prompt"])
    parsed = parse_prompt(case["prompt"], steps=20)
    assert parsed.text == case["prompt"]
    assert parsed.tags == tags
    assert parsed.parts == tuple((part.weight, schedule(part.text, 20)) for part in split_and(plain))
