"""A network named in the negative prompt acts on the unconditional pass alone."""

from __future__ import annotations

import numpy as np
import pytest

from .conftest import Program

TAGS = ("<lora:lin:1>", "<lora:locon:1>", "<hypernet:h_relu4:1>")


def picture(shared: Program, prompt: str = "", negative: str = "", **fields: float) -> np.ndarray:
    job = shared.make(f"a cat{prompt}", negative_prompt=f"a dog{negative}", **fields)
    assert job["notices"] == []
    return shared.pixels(job)[0]


@pytest.mark.parametrize("tag", TAGS)
def test_a_tag_in_the_negative_prompt_changes_the_picture_in_its_own_way(shared: Program, tag: str) -> None:
    plain, positive, negative = (picture(shared), picture(shared, tag), picture(shared, "", tag))
    assert (plain != positive).any()
    assert (plain != negative).any()
    assert (positive != negative).any()


@pytest.mark.parametrize("tag", TAGS)
def test_with_more_guidance_it_changes_the_picture_more(shared: Program, tag: str) -> None:
    """At CFG scale s the picture follows uncond + s (cond - uncond): uncond counts with s - 1."""

    def change(scale: float) -> float:
        plain, with_tag = (picture(shared, "", negative, cfg_scale=scale) for negative in ("", tag))
        return float(np.abs(plain - with_tag).mean())

    assert change(1.01) < change(5) / 3


@pytest.mark.parametrize("tag", TAGS)
def test_at_a_cfg_scale_of_one_it_says_that_it_has_no_effect(shared: Program, tag: str) -> None:
    job = shared.make("a cat", negative_prompt=f"a dog {tag}", cfg_scale=1)
    (notice,) = job["notices"]
    assert tag.split(":")[1] in notice
    assert "no effect at CFG scale 1" in notice
    assert (shared.pixels(job)[0] == picture(shared, cfg_scale=1)).all()


def test_a_tag_in_the_negative_prompt_is_never_read_as_words(shared: Program) -> None:
    nothing = picture(shared, "", "<lora:lin:0>")
    assert (nothing == picture(shared)).all()


def test_the_text_tells_of_it(shared: Program) -> None:
    job = shared.make("a cat <lora:locon:1>", negative_prompt="a tipt3 <lora:lin:0.5>")
    text = job["pictures"][0]["infotext"]
    assert "Negative prompt: a tipt3 <lora:lin:0.5>\n" in text
    hashes = text.split("Lora hashes: ")[1]
    assert "locon: " in hashes
    assert "lin: " in hashes
    assert "TI hashes: tipt3: " in text.replace('"', "")
