"""Files that are broken, foreign or hostile: each is named, the picture is made with the others, and nothing runs."""

from __future__ import annotations

import numpy as np
import pytest

from .conftest import SMALL, Program
from .files import TRAP

GOOD = "<lora:lin:1>"
CUT, ZIP, CODE = "Download it again", "not one that PyTorch wrote", "could run code"
SDXL = "made for SDXL, this is an SD 1 model"

TAGS = {
    "<lora:cutlora:1>": CUT,
    "<lora:cuthead:1>": CUT,
    "<lora:ziplora:1>": ZIP,
    "<lora:codelora:1>": CODE,
    "<lora:codeplain:1>": CODE,
    "<lora:sdxl:1>": SDXL,
    "<lora:sdxlsilent:1>": SDXL,
    "<lora:nowhere:1>": "is unknown",
    "<hypernet:cutnet:1>": CUT,
    "<hypernet:zipnet:1>": ZIP,
    "<hypernet:codenet:1>": CODE,
    "<hypernet:nowhere>": "is unknown",
}
WORDS = {
    "cutword": CUT,
    "cutpt": CUT,
    "zipword": ZIP,
    "codeword": CODE,
    "wrongdim": "32 numbers each, this checkpoint's have 64",
    "xlstyle": "192 numbers each, this checkpoint's have 64",
}
CHECKPOINTS = {
    "cutmodel": "Download it again",
    "zipmodel": ZIP,
    "codemodel": CODE,
    "loramodel": "is a LoRA, not a checkpoint",
}


@pytest.fixture(scope="module")
def with_good(shared: Program) -> np.ndarray:
    """What "a cat" looks like with the one good LoRA."""
    picture = shared.pixels(shared.make(f"a cat {GOOD}"))[0]
    assert (picture != shared.pixels(shared.make("a cat"))[0]).any()
    return picture


@pytest.mark.parametrize("tag", TAGS)
def test_a_bad_network_is_named_and_the_picture_is_made_with_the_others(
    shared: Program, with_good: np.ndarray, tag: str
) -> None:
    job = shared.make(f"a cat {tag} {GOOD}")
    name = tag.split(":")[1].rstrip(">")
    assert len(job["notices"]) == 1
    assert f'"{name}"' in job["notices"][0]
    assert TAGS[tag] in job["notices"][0]
    assert (shared.pixels(job)[0] == with_good).all()
    assert not (shared.data / TRAP).exists()


@pytest.mark.parametrize("word", WORDS)
def test_a_bad_embedding_is_named_in_either_box_and_its_name_is_plain_words(shared: Program, word: str) -> None:
    job = shared.make(f"a {word} {GOOD}", negative_prompt=f"no {word}")
    assert len(job["notices"]) == 1
    assert f'"{word}"' in job["notices"][0]
    assert WORDS[word] in job["notices"][0]
    assert not (shared.data / TRAP).exists()


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_bad_checkpoint_is_refused_with_its_reason(shared: Program, name: str) -> None:
    before = shared.make()
    for path in ("/tagbrush/v1/jobs", "/sdapi/v1/txt2img"):
        fields = {"prompt": "a cat", **SMALL, "override_settings": {"sd_model_checkpoint": name}}
        answer = shared.post(path, **fields, **({"task": "txt2img"} if "tagbrush" in path else {}))
        assert answer.status_code == 422, answer.text
        assert CHECKPOINTS[name] in answer.json()["detail"]
    assert not (shared.data / TRAP).exists()
    assert shared.files(shared.make()) == shared.files(before)


@pytest.mark.parametrize(("name", "words"), [("cutvae.safetensors", "Download it again"), ("codevae.pt", CODE)])
def test_a_bad_vae_is_refused_with_its_reason(shared: Program, name: str, words: str) -> None:
    answer = shared.post("/sdapi/v1/txt2img", prompt="a cat", **SMALL, override_settings={"sd_vae": name})
    assert answer.status_code == 422, answer.text
    assert words in answer.json()["detail"]
    assert not (shared.data / TRAP).exists()


def test_a_yaml_that_would_run_code_runs_none(shared: Program) -> None:
    job = shared.end(shared.submit("a cat", override_settings={"sd_model_checkpoint": "yamlmodel"}))
    assert job["state"] == "failed"
    assert "yamlmodel.yaml" in job["error"]
    assert not (shared.data / TRAP).exists()


def test_broken_sidecars_and_previews_cost_nothing_but_themselves(shared: Program) -> None:
    cards = {card["name"]: card for card in shared.http.get("/tagbrush/v1/catalogue/lora").json()["items"]}
    for name in ("lin", "locon"):
        assert cards[name]["error"] is None
        assert (cards[name]["description"], cards[name]["preferred_weight"]) == ("", None)
        if cards[name]["preview"]:
            assert shared.http.get(cards[name]["preview"]).status_code in (200, 404)


def test_bad_files_are_on_the_shelf_with_the_reason(shared: Program) -> None:
    cards = shared.http.get("/tagbrush/v1/catalogue/lora").json()["items"]
    errors = {card["name"]: card["error"] for card in cards}
    assert errors["lin"] is None
    assert CODE in errors["codelora"]
    assert "is cut off" in errors["cutlora"]
    listed = shared.http.get("/sdapi/v1/embeddings").json()
    assert "tipt3" in listed["loaded"]
    assert "codeword" in listed["skipped"]


def test_several_bad_things_at_once_are_all_named(shared: Program, with_good: np.ndarray) -> None:
    bad = "<lora:codelora:1><hypernet:zipnet:1><lora:sdxl:1><lora:lin:abc><lora:nowhere:1>"
    job = shared.make(f"a cat {bad}{GOOD}")
    assert len(job["notices"]) == 5
    assert (shared.pixels(job)[0] == with_good).all()


def test_a_lora_repaired_on_disk_works_in_the_next_job(shared: Program, with_good: np.ndarray) -> None:
    path = shared.data / "models" / "Lora" / "cutlora.safetensors"
    cut, whole = path.read_bytes(), (path.parent / "lin.safetensors").read_bytes()
    assert shared.make("a cat <lora:cutlora:1>")["notices"]
    path.write_bytes(whole)
    try:
        job = shared.make("a cat <lora:cutlora:1>")
        assert job["notices"] == []
        assert (shared.pixels(job)[0] == with_good).all()
    finally:
        path.write_bytes(cut)
    assert shared.make("a cat <lora:cutlora:1>")["notices"]
