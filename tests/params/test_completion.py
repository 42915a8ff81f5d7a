"""What a text leaves unsaid, field for field as A1111 1.10.1 completes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.params import Infotext, complete, format_infotext, parse_infotext, parse_version

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
CASES = json.loads((GOLDEN / "infotext.json").read_text(encoding="utf-8"))["infotext"]
SAMPLED = [
    (case["name"], text)
    for file in ("sampling.json", "sampling_img.json", "sampling_models.json")
    for case in json.loads((GOLDEN / file).read_text(encoding="utf-8"))["cases"]
    for text in case.get("infotexts") or ()
]


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_every_field_of_a_text_and_every_default_is_a1111s(case: dict[str, Any]) -> None:
    # I014, I015, I016: all 215 texts, nothing left out, nothing added
    info = complete(parse_infotext(case["text"]))
    found = {**info.fields, "Prompt": info.prompt, "Negative prompt": info.negative_prompt}
    assert found == {key: str(value) for key, value in case["parsed"].items()}


@pytest.mark.parametrize(("name", "text"), SAMPLED, ids=[name for name, _ in SAMPLED])
def test_keys_in_any_order_are_written_in_a1111s(name: str, text: str) -> None:
    # I012, I013
    info = parse_infotext(text)
    turned = Infotext(info.prompt, info.negative_prompt, dict(reversed(info.fields.items())))
    assert list(parse_infotext(format_infotext(turned)).fields) == list(info.fields)


def fields(text: str, prompt: str = "p") -> Infotext:
    return complete(parse_infotext(f"{prompt}\nSteps: 20, Sampler: Euler, CFG scale: 7, {text}"))


@pytest.mark.parametrize(
    ("written", "sizes"),
    [
        ("Size: 1024x1024, First pass size: 0x0", ("512", "512", "1024", "1024")),
        ("Size: 1024x512, First pass size: 0x0", ("768", "384", "1024", "512")),
        ("Size: 768x512, First pass size: 640x448", ("640", "448", "768", "512")),
        ("Size: 768x512, First pass size: 640x0", ("640", "448", "768", "512")),
        ("First pass size: 256x256", ("256", "256", "512", "512")),
    ],
)
def test_an_old_first_pass_size_becomes_the_size_and_the_size_the_hires_size(
    written: str, sizes: tuple[str, ...]
) -> None:
    # I015
    found = fields(written).fields
    assert tuple(found[key] for key in ("Size-1", "Size-2", "Hires resize-1", "Hires resize-2")) == sizes


def test_the_old_hypernetwork_setting_becomes_a_tag() -> None:
    # I015
    assert fields("Hypernet: night, Hypernet strength: 0.6").prompt == "p<hypernet:night:0.6>"
    assert fields("Hypernet: night").prompt == "p<hypernet:night:1.0>"


def test_the_keys_of_additional_networks_become_lora_tags() -> None:
    # I015
    info = fields(
        "AddNet Enabled: True, AddNet Module 1: LoRA, AddNet Model 1: ink(0123abcd), AddNet Weight A 1: 0.7, "
        "AddNet Weight B 1: 0.7, AddNet Module 2: LoRA, AddNet Model 2: plain, "
        "AddNet Module 3: Other, AddNet Model 3: x"
    )
    assert info.prompt == "p\n<lora:ink:0.7><lora:plain:1.0>"


@pytest.mark.parametrize(
    ("version", "key", "implied"),
    [
        ("v1.5.2", "Old prompt editing timelines", True),
        ("v1.6.0-RC", "Old prompt editing timelines", True),
        ("v1.6.0", "Old prompt editing timelines", False),
        ("v1.5.2", "Pad conds v0", True),
        ("1.6.0", "Pad conds v0", False),
        ("v1.7.0", "Downcast alphas_cumprod", True),
        ("v1.7.0-224-gabcdef01", "Downcast alphas_cumprod", True),
        ("v1.7.0-225-gabcdef01", "Downcast alphas_cumprod", False),
        ("1.10.1", "Downcast alphas_cumprod", False),
        ("v1.7.0", "Refiner switch by sampling steps", True),
        ("v1.8.0-RC", "Refiner switch by sampling steps", True),
        ("v1.8.0", "Refiner switch by sampling steps", False),
        ("f2.0.1v1.10.1-previous-313-g8a042934", "Downcast alphas_cumprod", False),
        ("ComfyUI", "Downcast alphas_cumprod", False),
    ],
)
def test_a_text_of_an_old_version_implies_what_that_version_did(version: str, key: str, implied: bool) -> None:
    # I016
    text = f"a [b:c:0.5]\nSteps: 20, Sampler: DDIM, Refiner: r, Refiner switch at: 0.8, Version: {version}"
    assert (complete(parse_infotext(text)).fields.get(key) == "True") == implied


def test_old_versions_imply_nothing_where_that_is_not_wanted() -> None:
    # I016: auto_backcompat
    info = parse_infotext("a [b]\nSteps: 20, Sampler: DDIM, CFG scale: 7, Version: v1.5.0")
    assert "Pad conds v0" in complete(info).fields
    assert "Pad conds v0" not in complete(info, backcompat=False).fields


def test_an_old_version_implies_nothing_where_it_makes_no_difference() -> None:
    # I016
    found = complete(parse_infotext("a b\nSteps: 20, Sampler: Euler, CFG scale: 7, Version: v1.5.0")).fields
    assert "Old prompt editing timelines" not in found
    assert "Pad conds v0" not in found
    assert found["Refiner switch by sampling steps"] == "False"


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("v1.6.0", (1, 6, 0, 0)),
        ("1.10.1", (1, 10, 1, 0)),
        ("v1.10", (1, 10, 0, 0)),
        ("v1.7.0-225-gabcdef01", (1, 7, 0, 225)),
        ("v1.6.0-RC-12-gabcdef01", (1, 6, 0, -1)),
        ("Tagbrush 0.3.0", None),
        ("f0.0.17v1.8.0rc-latest-277-g0af28699", None),
        ("", None),
    ],
)
def test_versions_of_a1111_are_told_from_those_of_others(text: str, version: tuple[int, ...] | None) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize(
    ("prompt", "has"), [("a (b)", True), ("[b]", True), ("a b", False), (r"name \(series\)", False), (r"\\(a)", True)]
)
def test_emphasis_is_original_where_a_prompt_has_brackets_that_count(prompt: str, has: bool) -> None:
    # I015, P021
    assert (fields("Seed: 1", prompt).fields.get("Emphasis") == "Original") == has


@given(st.text(), st.dictionaries(st.text(min_size=1), st.text(min_size=1)))
def test_no_fields_are_too_odd_to_complete(prompt: str, found: dict[str, str]) -> None:
    complete(Infotext(prompt, "", found))
