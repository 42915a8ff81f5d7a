"""Networks as people have them: odd names, sub-folders, two of one name, other VAEs, and those that are shipped."""

from __future__ import annotations

import numpy as np
import pytest

from .conftest import Json, Program
from .files import LIKE_LIN

MINI = {"override_settings": {"sd_model_checkpoint": "tagbrush-mini"}}


def picture(shared: Program, prompt: str, **fields: object) -> np.ndarray:
    job = shared.make(prompt, **fields)
    assert job["notices"] == []
    return shared.pixels(job)[0]


@pytest.mark.parametrize("name", LIKE_LIN)
def test_a_lora_is_found_by_its_name_whatever_that_is(shared: Program, name: str) -> None:
    cards = shared.http.get("/tagbrush/v1/catalogue/lora", params={"search": name}).json()["items"]
    (insert,) = [card["insert"] for card in cards if card["name"] == name]
    job = shared.make(f"a cat <lora:{insert}:1>")
    assert job["notices"] == []
    assert (shared.pixels(job)[0] == picture(shared, "a cat <lora:lin:1>")).all()
    assert name.replace(",", "").replace(":", "") in job["pictures"][0]["infotext"].split("Lora hashes: ")[1]


def test_two_files_of_one_name_are_told_apart_by_their_folder(shared: Program) -> None:
    job = shared.make("a cat <lora:twin:1>")
    (notice,) = job["notices"]
    assert "several files" in notice
    assert "a/twin" in notice
    assert "b/twin" in notice
    assert (shared.pixels(job)[0] == picture(shared, "a cat <lora:a/twin:1>")).all()
    assert (picture(shared, "a cat <lora:a/twin:1>") != picture(shared, "a cat <lora:b/twin:1>")).any()


def test_another_vae_is_used_for_one_job(shared: Program) -> None:
    plain = picture(shared, "a cat")
    job = shared.make("a cat", override_settings={"sd_vae": "half.safetensors"})
    assert "VAE: half.safetensors" in job["pictures"][0]["infotext"]
    assert (shared.pixels(job)[0] != plain).any()
    assert (picture(shared, "a cat") == plain).all()


def test_a_hash_in_the_text_names_the_checkpoint(shared: Program) -> None:
    text = shared.make("a cat", **MINI)["pictures"][0]["infotext"]
    parsed = shared.post("/tagbrush/v1/infotext/parse", text=text).json()
    job = shared.make("a cat", override_settings=parsed["settings"])
    assert "Model: tagbrush-mini" in job["pictures"][0]["infotext"]


def shipped(shared: Program, kind: str) -> list[Json]:
    cards = shared.http.get(f"/tagbrush/v1/catalogue/{kind}", params={"search": "tagbrush-"}).json()["items"]
    assert cards, f"no {kind} is shipped"
    return cards


@pytest.mark.parametrize(
    ("kind", "tag"), [("lora", "<lora:{}:1>"), ("hypernetwork", "<hypernet:{}:1>"), ("embedding", "{}")]
)
@pytest.mark.parametrize("box", ["prompt", "negative_prompt"])
def test_what_is_shipped_works_on_the_built_in_model_in_both_boxes(
    shared: Program, kind: str, tag: str, box: str
) -> None:
    fields = {"prompt": "a red apple on a blue background", "negative_prompt": "", **MINI}
    plain = picture(shared, **fields)
    for card in shipped(shared, kind):
        assert card["error"] is None
        assert card["preview"]
        words = f"{fields[box]} {tag.format(card['insert'])}"
        assert (picture(shared, **{**fields, box: words}) != plain).any()


def test_the_built_in_model_is_drawn_at_its_own_size_and_guidance(shared: Program) -> None:
    answer = shared.post("/tagbrush/v1/jobs", task="txt2img", prompt="a red apple", steps=2, seed=1, **MINI)
    text = shared.end(answer.json()["id"])["pictures"][0]["infotext"]
    assert "Size: 128x128" in text
    assert "CFG scale: 3" in text


def test_what_does_not_fit_the_model_in_use_is_counted(shared: Program) -> None:
    """Both models are SD 1.x in structure, of widths that differ in most places."""
    (notice,) = shared.make("a cat <lora:lin:1>", **MINI)["notices"]
    assert "applied in part: 6 of its 8 layers do not fit" in notice
