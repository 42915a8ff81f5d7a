"""Every picture of the reference that this version has all the features for, drawn again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from modules.catalogue import Catalogue
from modules.params import Img2ImgRequest, Settings, TagbrushError, Txt2ImgRequest, make_request, parse_infotext
from modules.pipeline import generate, plan
from modules.prompt import extract_tags

from .conftest import GOLDEN, Person, Worker, golden

REQUESTS = {"txt2img": Txt2ImgRequest, "img2img": Img2ImgRequest}
NOISY = {"Euler a", "DPM++ 2M SDE", "LCM"}
LATENTS, NOISY_LATENTS, PSNR = 2e-3, 5e-3, 40.0
# Here float32 is as far from float64 as from the reference: guidance of a consistency model amplifies rounding 30,000
# times, and in the smallest picture the innermost layers normalise two numbers each.
ILL_CONDITIONED = {"sampler/LCM": 0.2, "sched/LCM/Karras": 0.2, "size/64x64": 0.02}
NOT_COMPARED = ("Version", "Model hash", "Lora hashes", "TI hashes")


def _cases() -> Iterator[Any]:
    for file in ("sampling", "sampling_img"):
        for case in golden(f"{file}.json")["cases"]:
            if _is_possible(case):
                yield pytest.param(file, case, id=case["name"])


def _is_possible(case: dict[str, Any]) -> bool:
    """Whether requests and settings can say all that the case asks for, and mean it as the reference does."""
    args = case["args"]
    request = REQUESTS.get(case["kind"])
    if request is None or "error" in case or not set(case["opts"]) <= set(Settings.model_fields):
        return False
    if not set(args) <= set(request.model_fields) or not isinstance(args["prompt"], str):
        return False
    if "<" in args["negative_prompt"]:  # P057: a tag in the negative prompt is a network here, and words there
        return False
    if re.search("pngname|stegoname", args["prompt"]):  # embeddings inside pictures are not in the catalogue
        return False
    try:
        make_request({"task": case["kind"], **args})
    except TagbrushError:  # a sampler, schedule or resize mode that is not here yet
        return False
    return True


def test_the_rule_finds_the_cases_it_should() -> None:
    assert len(list(_cases())) >= 70


@pytest.mark.usefixtures("weights_stay")
@pytest.mark.parametrize(("file", "case"), list(_cases()))
def test_a_picture_is_the_references(
    file: str, case: dict[str, Any], worker: Worker, catalogue: Catalogue, latents: list[torch.Tensor]
) -> None:
    request = make_request({"task": case["kind"], **case["args"]})
    settings = Settings(randn_source="CPU", live_previews_enable=False).overridden(case["opts"])
    person = Person()
    generate(plan(request, settings, catalogue, worker.tokenizer), worker, person, person)

    assert person.notices == []
    with np.load(GOLDEN / f"{file}_latents.npz") as arrays:
        expected = np.concatenate([arrays[entry["key"]] for entry in case["latents"]])
    usual = NOISY_LATENTS if case["args"]["sampler_name"] in NOISY else LATENTS
    tolerance = ILL_CONDITIONED.get(case["name"], usual)
    np.testing.assert_allclose(torch.cat(latents).numpy(), expected, rtol=0, atol=tolerance)
    for picture, name in zip(person.pictures, case["images"], strict=False):
        assert _psnr(picture.image, GOLDEN / name) > PSNR
    assert [picture.seed for picture in person.pictures] == case["all_seeds"]
    for picture, text in zip(person.pictures, case["infotexts"], strict=False):
        _assert_same_text(picture.infotext, text)


def _v_cases() -> Iterator[Any]:
    """Those of a v-prediction model, but LCM's: there the reference takes v for noise."""
    for case in golden("sampling_models.json")["cases"]:
        options = dict(case["opts"])
        is_v = options.pop("sd_model_checkpoint", "") == "tiny_v" and case["args"]["sampler_name"] != "LCM"
        if is_v and _is_possible(case | {"opts": options}):
            yield pytest.param(case, id=case["name"])


@pytest.mark.parametrize("case", list(_v_cases()))
def test_a_picture_of_a_v_prediction_model_is_the_references(
    case: dict[str, Any], worker: Worker, catalogue: Catalogue, latents: list[torch.Tensor]
) -> None:
    """The weights are those of a noise-prediction model, so that rounding is amplified 20,000 times."""
    request = make_request({"task": case["kind"], **case["args"]})
    settings = Settings(randn_source="CPU", live_previews_enable=False)
    person = Person()
    seeing_v = replace(worker, model=replace(worker.model, prediction_type="v"))
    generate(plan(request, settings, catalogue, worker.tokenizer), seeing_v, person, person)
    with np.load(GOLDEN / "sampling_models_latents.npz") as arrays:
        expected = np.concatenate([arrays[entry["key"]] for entry in case["latents"]])
    np.testing.assert_allclose(torch.cat(latents).numpy(), expected, rtol=0, atol=0.15)


def _psnr(image: Image.Image, path: Any) -> float:
    with Image.open(path) as opened:
        expected = np.asarray(opened.convert("RGB"), dtype=np.float64)
    error = np.square(np.asarray(image, dtype=np.float64) - expected).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def _assert_same_text(ours: str, reference: str) -> None:
    found, expected = parse_infotext(ours), parse_infotext(reference)
    without_tags, _ = extract_tags(found.prompt)  # the reference, run without its page, loses the tags (P002)
    assert (without_tags.strip(), found.negative_prompt) == (expected.prompt, expected.negative_prompt)
    keys = [key for key in expected.fields if key not in NOT_COMPARED]
    assert [key for key in found.fields if key not in NOT_COMPARED] == keys
    assert {key: found.fields[key] for key in keys} == {key: expected.fields[key] for key in keys}
    for key in NOT_COMPARED[1:]:
        assert found.fields.get(key) == expected.fields.get(key)
