from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.prompt import NetworkTag, extract_tags, read_tag

PROMPT_ARGS = json.loads((Path(__file__).parents[1] / "data/golden/lora.json").read_text("utf-8"))["prompt_args"]


def tags_of(text):
    return extract_tags(text)[1]


def understood(text):
    (tag,) = tags_of(text)
    return read_tag(tag)


@pytest.mark.parametrize(
    ("text", "left", "found"),
    [
        ("<lora:a b:0.5:te=1>", "", [("lora", ("a b", "0.5"), {"te": "1"})]),
        ("(a <lora:x:1>:1.2)", "(a :1.2)", [("lora", ("x", "1"), {})]),
        ("<<lora:a:1>>", "<>", [("lora", ("a", "1"), {})]),
        ("<lora:a:<b>:1>", ":1>", [("lora", ("a", "<b"), {})]),
        ("a <lora:x:1>,b", "a ,b", [("lora", ("x", "1"), {})]),
        ("<lora:a\nb:1>", "", [("lora", ("a\nb", "1"), {})]),
        # P051: a name may hold a "=" where the ancestor takes it for a named argument and finds no name.
        ("<lora:a=b:0.5>", "", [("lora", ("a=b", "0.5"), {})]),
        # P050: kinds with a hyphen where they are registered.
        ("<be-lora:a:1>", "", [("lora", ("a", "1"), {})]),
        ("<lyco:a:1>", "", [("lora", ("a", "1"), {})]),
        ("<x:y>", "", [("x", ("y",), {})]),
    ],
)
def test_vectors(text, left, found):
    rest, tags = extract_tags(text)
    assert rest == left
    assert [(tag.kind, tag.args, dict(tag.named)) for tag in tags] == found


@pytest.mark.parametrize(
    "text", ["<lora:a", "<lora:>", "<lora>", "< lora:a>", "<lo-ra:a>", "x<3 and y>2", "a > b < c:d", "<:a>", ""]
)
def test_what_is_no_tag_stays_text(text):
    assert extract_tags(text) == (text, ())


def test_a_tag_keeps_the_text_it_was():
    assert [tag.text for tag in tags_of("<lyco:a> <lora:b:1>")] == ["<lyco:a>", "<lora:b:1>"]


@pytest.mark.parametrize("case", PROMPT_ARGS, ids=lambda case: case["prompt"])
def test_lora_arguments_are_those_of_the_reference(case):
    found = [read_tag(tag) for tag in tags_of(case["prompt"])]
    if "exception" in case:
        # P059: the ancestor switches all LoRA off; here the one tag is skipped, with a message.
        ((network, (problem,)),) = found
        assert network is None
        assert problem.message == '<lora:lin:abc> has no effect: te is "abc". Give a number, such as 0.8.'
        return
    assert found == [
        (NetworkTag("lora", *arguments), ())
        for arguments in zip(case["names"], case["te"], case["unet"], case["dyn"], strict=True)
    ]


def test_a_hypernetwork_has_one_multiplier():
    assert understood("<hypernet:ray>") == (NetworkTag("hypernet", "ray", 1.0, 1.0), ())
    assert understood("<hypernet:ray:0.4>") == (NetworkTag("hypernet", "ray", 0.4, 0.4), ())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<lora::1>", "it names no network."),
        ("<lora:a:nan>", 'te is "nan". Give a number, such as 0.8.'),
        ("<lora:a:1:inf>", 'unet is "inf". Give a number, such as 0.8.'),
        ("<lora:a:0.5:>", 'unet is "". Give a number, such as 0.8.'),
        ("<lora:a:1:1:x>", 'dyn is "x". Give a whole number of 1 or more.'),
        ("<lora:a:1:dyn=0>", 'dyn is "0". Give a whole number of 1 or more.'),
        ("<hypernet:a:b>", 'multiplier is "b". Give a number, such as 0.8.'),
    ],
)
def test_a_malformed_tag_says_what_is_wrong(text, reason):
    network, (problem,) = understood(text)
    assert network is None
    assert problem.message == f"{text} has no effect: {reason}"


def test_what_is_not_understood_is_named_and_the_rest_applies():
    network, problems = understood("<lora:a:0.5:0.5:4:OUT:lbw=MIDD>")
    assert network == NetworkTag("lora", "a", 0.5, 0.5, 4)
    assert [problem.message.split('"')[1] for problem in problems] == ["OUT", "lbw=MIDD"]


def test_an_unknown_kind_is_named_with_the_nearest():
    assert understood("<LORA:x:1>")[1][0].message == 'Tag kind "LORA" is unknown. Did you mean "lora"?'
    assert "Known kinds: " in understood("<zzz:x:1>")[1][0].message


names = st.text(alphabet="ab (c).é_-=", min_size=1)
numbers = st.floats(-1e3, 1e3)


@given(names, numbers, numbers, st.integers(1, 999))
def test_a_tag_that_is_written_is_read_back(name, te, unet, dyn):
    expected = (NetworkTag("lora", name, te, unet, dyn), ())
    assert understood(f"<lora:{name}:{te!r}:{unet!r}:{dyn}>") == expected
    assert understood(f"<lora:{name}:dyn={dyn}:unet={unet!r}:te={te!r}>") == expected


@given(st.text() | st.text(alphabet="<>:=lora-1. ", max_size=60))
def test_every_text_has_its_tags_read_without_an_error(text):
    rest, tags = extract_tags(text)
    assert len(text) == len(rest) + sum(len(tag.text) for tag in tags)
    for tag in tags:
        network, problems = read_tag(tag)
        assert problems if network is None else math.isfinite(network.te)
