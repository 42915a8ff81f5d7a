from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modules.params import (
    REQUEST,
    BadRequest,
    Img2ImgRequest,
    Settings,
    Txt2ImgRequest,
    UnknownName,
    find_sampler,
    find_schedule,
    make_request,
    parameters,
    request_from_infotext,
    with_seed,
)

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
NAMES = json.loads((GOLDEN / "infotext.json").read_text(encoding="utf-8"))["sampler_and_scheduler"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"width": 0}, "width is 0"),
        ({"height": 100_000}, "height is 100000"),
        ({"steps": 0}, "steps is 0"),
        ({"cfg_scale": -1}, "cfg_scale is -1"),
        ({"seed": -2}, "seed is -2"),
        ({"nonsense": 1}, "nonsense is 1"),
        ({"prompt": 5}, "prompt is 5"),
        ({"task": "img2img", "denoising_strength": 2}, "denoising_strength is 2"),
    ],
)
def test_a_value_out_of_its_limits_is_named(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        make_request(fields)


def test_an_unknown_sampler_is_told_with_the_nearest_one() -> None:
    with pytest.raises(UnknownName, match=r'Sampler "Eular a" is unknown. Did you mean "Euler a"\?'):
        make_request({"sampler_name": "Eular a"})


def test_a_request_survives_the_wire() -> None:
    request = make_request({"task": "img2img", "prompt": "a cat", "init_images": ["00"], "seed": 2**64 - 1})
    assert REQUEST.validate_json(REQUEST.dump_json(request)) == request


def test_a_request_cannot_be_changed() -> None:
    request = Txt2ImgRequest()
    with pytest.raises(ValueError, match="frozen"):
        request.prompt = "a dog"


def test_a_seed_is_drawn_once_and_only_when_asked() -> None:
    assert with_seed(Txt2ImgRequest(seed=5), lambda n: 7).seed == 5
    assert with_seed(Img2ImgRequest(), lambda n: 7).seed == 7


@pytest.mark.parametrize("case", NAMES, ids=lambda case: f"{case['sampler']}/{case['scheduler']}")
def test_sampler_names_are_read_as_a1111_reads_them(case: dict[str, Any]) -> None:
    """Except that a name A1111 silently replaces by its first sampler is an error here, or found in any case."""
    try:
        sampler, inner = find_sampler(case["sampler"] or "")
        schedule = inner or find_schedule(case["scheduler"])
    except UnknownName:
        return
    expected_sampler, expected_schedule = case["no_convert"]
    if sampler.name == expected_sampler:
        assert schedule.label == expected_schedule


def test_a_joined_name_means_sampler_and_schedule() -> None:
    sampler, schedule = find_sampler("DPM++ 2M SDE Karras")
    assert (sampler.name, schedule and schedule.label) == ("DPM++ 2M SDE", "Karras")


def test_every_parameter_on_the_page_has_a_label_and_a_sane_slider() -> None:
    for group in (Txt2ImgRequest, Img2ImgRequest, Settings):
        for name, declared in parameters(group).items():
            assert declared.label, name
            if declared.ui and declared.ge is not None and declared.le is not None:
                assert declared.ge <= declared.ui[0] < declared.ui[1] <= declared.le, name


def test_an_override_gives_a_new_snapshot() -> None:
    settings = Settings()
    assert settings.overridden({"CLIP_stop_at_last_layers": 2}).CLIP_stop_at_last_layers == 2
    assert settings.CLIP_stop_at_last_layers == 1


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"CLIP_stop_at_last_layer": 2}, UnknownName),
        ({"randn_source": "TPU"}, UnknownName),
        ({"jpeg_quality": 0}, BadRequest),
    ],
)
def test_an_option_that_cannot_be_is_refused(changes: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        Settings().overridden(changes)


@pytest.mark.parametrize("folder", ["/etc", "../up", "a/../../b", "C:\\pictures", "C:pictures", "\\\\host\\share"])
def test_a_request_keeps_its_pictures_inside_the_data_folder(folder: str) -> None:
    with pytest.raises(BadRequest, match="out of the data folder"):
        Settings().requested({"outdir_txt2img_samples": folder})


def test_a_folder_that_the_owner_set_elsewhere_stays() -> None:
    settings = Settings(outdir_img2img_samples="/mnt/pictures")
    assert settings.requested({"jpeg_quality": 90}).outdir_img2img_samples == "/mnt/pictures"
    assert settings.requested({"outdir_txt2img_samples": "mine/of today"}).outdir_txt2img_samples == "mine/of today"


TEXT = (
    "a cat, (red:1.2)\nNegative prompt: blurry\nSteps: 12, Sampler: DPM++ 2M Karras, CFG scale: 5.5, Seed: 77, "
    "Size: 512x768, Model hash: 3b44911865, Model: tiny, Clip skip: 2, Version: v1.5.0"
)


def test_pasting_fills_every_control_the_text_names() -> None:
    pasted = request_from_infotext(TEXT)
    assert dict(pasted.fields) == {
        "prompt": "a cat, (red:1.2)",
        "negative_prompt": "blurry",
        "steps": 12,
        "sampler_name": "DPM++ 2M",
        "scheduler": "Karras",
        "cfg_scale": 5.5,
        "seed": 77,
        "width": 512,
        "height": 768,
        "enable_hr": False,
        "subseed_strength": 0.0,
        "seed_resize_from_w": 0,
        "seed_resize_from_h": 0,
        "tiling": False,
        "refiner_checkpoint": "",
    }
    assert pasted.settings["CLIP_stop_at_last_layers"] == 2
    assert pasted.settings["sd_model_checkpoint"] == "3b44911865"
    assert not pasted.notices


@pytest.mark.parametrize(("written", "read"), [("", "NV"), ("RNG: GPU, ", "NV"), ("RNG: CPU, ", "CPU")])
def test_a_text_without_a_noise_source_was_made_with_an_nvidia_gpus_noise(written: str, read: str) -> None:
    text = f"x\nSteps: 1, Seed: 2, Size: 64x64, {written}Version: 1"
    assert request_from_infotext(text).settings["randn_source"] == read


def test_a_sampler_we_do_not_have_is_reported_and_left_alone() -> None:
    pasted = request_from_infotext("x\nSteps: 1, Sampler: Zigzag 9, Seed: 2, Size: 64x64")
    assert "sampler_name" not in pasted.fields
    assert "Zigzag 9" in pasted.notices[0]


@pytest.mark.parametrize(
    ("written", "field"),
    [
        ("Steps: 0", "steps"),
        ("CFG scale: nan", "cfg_scale"),
        ("Size: 99999x64", "width"),
        ("Seed: -5", "seed"),
        ("RNG: dice", "randn_source"),
        ("Clip skip: 99", "CLIP_stop_at_last_layers"),
    ],
)
def test_a_value_out_of_its_limits_is_reported_and_left_alone(written: str, field: str) -> None:
    plain = request_from_infotext("x\nMore: 1, Again: 2, Version: 3")
    pasted = request_from_infotext(f"x\n{written}, More: 1, Again: 2, Version: 3")
    assert pasted.fields.get(field) == plain.fields.get(field)
    assert pasted.settings == plain.settings
    assert written.partition(": ")[2].split("x")[0] in pasted.notices[0]


def test_a_plain_prompt_sets_only_the_prompt() -> None:
    pasted = request_from_infotext("just words")
    assert dict(pasted.fields) == {"prompt": "just words", "negative_prompt": ""}
    assert not pasted.settings
