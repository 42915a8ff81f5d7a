"""A1111's wire, translated."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.api.compat import Img2ImgPayload, TaskPayload, Translated, Txt2ImgPayload, progress, translate
from modules.api.compat.translate import NO_FACES
from modules.api.errors import NotFound, Unsupported
from modules.api.examples import DONE, PROGRESS, RUNNING, WAITING
from modules.images import BadPicture
from modules.jobs import Job, JobState
from modules.params import BadRequest, Img2ImgRequest, TagbrushError, Txt2ImgRequest, UnknownName, named_inputs

from .conftest import png

ENCODED = base64.b64encode(png()).decode()


def keep(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def translated(**fields: Any) -> Translated:
    return translate(Txt2ImgPayload(**fields), "txt2img", keep)


def redrawn(**fields: Any) -> Translated:
    return translate(Img2ImgPayload(**{"init_images": [ENCODED], **fields}), "img2img", keep)


def test_an_empty_payload_has_the_defaults_of_the_old_api() -> None:
    request = translated().request
    assert (request.steps, request.sampler_name, request.save_images, request.seed) == (50, "Euler", False, -1)
    assert (request.width, request.height, request.cfg_scale) == (None, None, None)


def test_null_means_not_given() -> None:
    payload = dict.fromkeys(Txt2ImgPayload.model_fields)
    assert translated(**payload).request == translated().request
    assert not translated(**payload).ignored


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"sampler_index": "DDIM"}, "DDIM"),
        ({"sampler_name": "LCM", "sampler_index": "DDIM"}, "LCM"),
        ({"sampler_name": "", "sampler_index": "DDIM"}, "DDIM"),
        ({"sampler_name": None, "sampler_index": "DDIM"}, "DDIM"),
        ({"sampler_name": "", "sampler_index": ""}, "Euler"),
        ({"sampler_index": "DDIM", "alwayson_scripts": {"Sampler": {"args": [7, "LCM"]}}}, "LCM"),
        ({"sampler_index": "DDIM", "infotext": "a\nSteps: 7, Sampler: LCM, Seed: 5"}, "LCM"),
        ({"sampler_index": "DDIM", "infotext": "a\nSteps: 7, Seed: 5, Size: 64x64"}, "DDIM"),
        ({"sampler_name": "Heun", "infotext": "a\nSteps: 7, Sampler: LCM, Seed: 5"}, "Heun"),
    ],
)
def test_the_old_name_of_the_sampler_counts_where_the_new_one_is_missing(fields: dict[str, Any], name: str) -> None:
    assert translated(**fields).request.sampler_name == name


def test_pictures_are_saved_only_if_asked_for_whatever_else_is_said_of_saving() -> None:  # A002
    """A1111 overwrites the two other fields by this one."""
    against = {"do_not_save_samples": True, "do_not_save_grid": True}
    result = translated(save_images=True, **against)
    assert (result.request.save_images, result.wants_grid) == (True, True)
    assert result.ignored == ("do_not_save_grid", "do_not_save_samples")
    for fields in (against, dict.fromkeys(against, False)):
        result = translated(**fields)
        assert (result.request.save_images, result.wants_grid, result.ignored) == (False, False, ())


def test_fields_at_their_neutral_values_are_not_worth_a_word() -> None:
    neutral = {
        "enable_hr": False, "hr_scale": 2, "hr_upscaler": "Latent", "hr_prompt": "", "denoising_strength": 0.7,
        "firstphase_width": 0, "subseed": -1, "subseed_strength": 0.0, "seed_resize_from_h": -1, "restore_faces": False,
        "tiling": None, "do_not_save_grid": True, "eta": 1.0, "s_churn": 0, "s_noise": 1.0, "script_args": [],
        "alwayson_scripts": {}, "refiner_switch_at": 0.8, "force_task_id": "task(1)", "script_name": None,
    }  # fmt: skip
    assert translated(**neutral).ignored == ()


def test_what_is_asked_for_and_not_done_is_named() -> None:
    assert translated(restore_faces=True, wibble=1, mask=ENCODED).ignored == ("mask", "restore_faces", "wibble")


def test_the_fields_of_hires_fix_and_variations_reach_the_request() -> None:
    asked = {
        "enable_hr": True, "hr_scale": 1.5, "hr_upscaler": "Lanczos", "hr_prompt": "a pear", "tiling": True,
        "subseed": 3, "subseed_strength": 0.5, "seed_resize_from_w": 64, "seed_resize_from_h": 96,
        "refiner_checkpoint": "other", "refiner_switch_at": 0.5, "eta": 0.3, "s_churn": 2.0, "hr_scheduler": "karras",
    }  # fmt: skip
    result = translated(**asked)
    assert {name: getattr(result.request, name) for name in asked} == asked | {"hr_scheduler": "Karras"}
    assert result.ignored == ()


def test_the_old_hires_fix_names_the_size_of_its_first_pass() -> None:
    request = translated(enable_hr=True, width=768, height=1024, firstphase_width=384, firstphase_height=512).request
    assert isinstance(request, Txt2ImgRequest)
    assert (request.width, request.height, request.hr_resize_x, request.hr_resize_y) == (384, 512, 768, 1024)


def test_a_picture_can_take_the_place_of_the_first_pass() -> None:
    request = translated(enable_hr=True, firstpass_image=ENCODED).request
    assert named_inputs(request) == (keep(png()),)


def test_a_mask_is_stored_and_has_the_defaults_of_the_old_api() -> None:
    request = redrawn(mask=ENCODED, mask_blur=7, inpainting_mask_invert=1).request
    assert isinstance(request, Img2ImgRequest)
    assert request.mask == keep(png())
    assert (request.mask_blur, request.inpainting_mask_invert) == (7, 1)
    assert (request.inpainting_fill, request.inpaint_full_res, request.inpaint_full_res_padding) == (0, 1, 0)
    assert redrawn(inpaint_full_res=False).request.inpaint_full_res == 0


def test_a_mask_blur_overrules_that_of_each_direction_as_there() -> None:
    apart = redrawn(mask_blur_x=2, mask_blur_y=9).request
    together = redrawn(mask_blur=7, mask_blur_x=2, mask_blur_y=9).request
    assert isinstance(apart, Img2ImgRequest) and isinstance(together, Img2ImgRequest)
    assert (apart.mask_blur_x, apart.mask_blur_y) == (2, 9)
    assert (together.mask_blur, together.mask_blur_x, together.mask_blur_y) == (7, None, None)


@given(st.dictionaries(st.text(min_size=1).filter(lambda name: name not in Txt2ImgPayload.model_fields), st.integers()))
def test_no_unknown_field_breaks_a_request(fields: dict[str, int]) -> None:
    assert translated(**{"prompt": "a cat", **fields}).request == translated(prompt="a cat").request


def test_options_for_one_picture_are_passed_on_and_unknown_ones_named() -> None:
    result = translated(override_settings={"CLIP_stop_at_last_layers": 2, "sd_wibble": 1})
    assert result.request.override_settings == {"CLIP_stop_at_last_layers": 2}
    assert result.ignored == ("override_settings.sd_wibble",)
    assert result.lasting is None


def test_options_can_be_meant_to_last() -> None:
    result = translated(override_settings={"eta_noise_seed_delta": 7}, override_settings_restore_afterwards=False)
    assert result.lasting == {"eta_noise_seed_delta": 7}


def test_an_infotext_fills_only_what_is_not_given() -> None:
    text = "a lemon\nNegative prompt: ink\nSteps: 7, Sampler: DPM++ 2M Karras, CFG scale: 4, Seed: 5, Size: 64x128"
    text += ", Model: other"
    request = translated(infotext=text, seed=9, steps=None).request
    assert isinstance(request, Txt2ImgRequest)
    assert (request.prompt, request.negative_prompt, request.seed, request.steps) == ("a lemon", "ink", 9, 7)
    assert (request.sampler_name, request.scheduler, request.width, request.height) == ("DPM++ 2M", "Karras", 64, 128)
    assert request.override_settings["randn_source"] == "NV"
    assert "sd_model_checkpoint" not in request.override_settings


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
def test_input_pictures_are_stored_under_their_hash(prefix: str) -> None:
    request = redrawn(init_images=[prefix + ENCODED]).request
    assert request.init_images == (keep(png()),)


def test_input_pictures_come_back_only_on_request() -> None:
    assert redrawn().parameters["init_images"] is None
    assert redrawn(include_init_images=True).parameters["init_images"] == [ENCODED]


def test_redrawing_takes_the_strength_where_drawing_has_none() -> None:
    assert redrawn(denoising_strength=0.4).request.denoising_strength == 0.4
    assert not redrawn(denoising_strength=0.4).ignored


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"sampler_name": "Eular a"}, UnknownName),
        ({"scheduler": "Karas"}, UnknownName),
        ({"width": 0}, (BadRequest, ValueError)),
        ({"script_name": "x/y/z plot"}, Unsupported),
        ({"alwayson_scripts": {"ControlNet": {"args": [{}]}}}, Unsupported),
    ],
)
def test_what_would_make_another_picture_is_refused(fields: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        translated(**fields)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"init_images": []}, NotFound),
        ({"init_images": None}, NotFound),
        ({"init_images": ["@@@"]}, BadPicture),
        ({"init_images": ["aGVsbG8="]}, BadPicture),
        ({"init_images": ["http://127.0.0.1:1/x.png"]}, BadPicture),
        ({"mask": "@@@"}, BadPicture),
    ],
)
def test_redrawing_needs_pictures(fields: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        redrawn(**fields)


def test_sd_upscale_is_asked_for_by_its_arguments_in_order() -> None:  # S006, A013
    request = redrawn(script_name="sd upscale", script_args=["", 8, "Lanczos", 2.0]).request
    assert isinstance(request, Img2ImgRequest)
    assert (request.script, request.sd_upscale_overlap, request.sd_upscale_scale) == ("SD upscale", 8, 2.0)
    assert request.sd_upscale_upscaler == "Lanczos"


def test_an_upscaler_may_be_named_by_its_place() -> None:
    request = redrawn(script_name="SD Upscale", script_args=[None, 64, 2, 4]).request
    assert isinstance(request, Img2ImgRequest)
    assert (request.sd_upscale_upscaler, request.sd_upscale_scale) == ("Nearest", 4.0)


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({"script_name": "sd upscale"}, BadRequest, "img2img"),
        ({"script_name": "nosuch"}, Unsupported, "nosuch"),
        ({"script_name": "Prompt matrix"}, Unsupported, "not part of this version yet"),
        ({"alwayson_scripts": {"SD upscale": {"args": ["", 8, 1, 2]}}}, BadRequest, "SD upscale"),
        ({"alwayson_scripts": {"ADetailer": {"args": [True, {}]}}}, Unsupported, "ADetailer"),
        ({"alwayson_scripts": {"Hypertile": {"args": [True]}}}, Unsupported, "not part of this version yet"),
        ({"alwayson_scripts": {"x": {"args": "text"}}}, Unsupported, "no list"),
        ({"alwayson_scripts": {"Sampler": {"args": [0, "LCM"]}}}, BadRequest, "steps is 0"),
    ],
)
def test_scripts_that_cannot_run_are_refused(  # A006
    fields: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        translated(**fields)


def test_always_on_scripts_that_are_off_are_passed_over_and_named() -> None:
    scripts = {"ADetailer": {"args": [False]}, "ControlNet": {"args": []}, "Hypertile": {"args": [False, 1]}}
    result = translated(alwayson_scripts={**scripts, "API payload": {"args": [1]}, "Extra options": {}})
    assert result.ignored == ("alwayson_scripts.ADetailer", "alwayson_scripts.Hypertile")
    assert result.request == translated().request


def test_always_on_scripts_of_the_page_fill_what_the_payload_leaves_open() -> None:
    """A1111's own page can show its payload, which says steps, sampler, seed and refiner twice."""
    scripts = {
        "Sampler": {"args": [7, "LCM", "Karras"]},
        "Seed": {"args": [5, True, 6, 0.5, 0, 0]},
        "Refiner": {"args": [False, "other", 0.5]},
    }
    request = translated(alwayson_scripts=scripts, steps=9).request
    assert (request.steps, request.sampler_name, request.scheduler) == (9, "LCM", "Karras")
    assert (request.seed, request.subseed, request.subseed_strength) == (5, 6, 0.5)
    assert request.refiner_checkpoint == ""


def test_arguments_of_always_on_scripts_that_are_too_many_are_left_out_and_named() -> None:
    """As A1111 has it: clients send those of another edition of the script."""
    scripts = {"Refiner": {"args": [True, "other", 0.5, "more", 1]}, "Sampler": {"args": [7, "LCM", "Karras"]}}
    result = translated(alwayson_scripts=scripts)
    assert isinstance(result.request, Txt2ImgRequest)
    assert (result.request.refiner_checkpoint, result.request.refiner_switch_at) == ("other", 0.5)
    assert result.ignored == ("alwayson_scripts.Refiner.args[3:]",)
    with pytest.raises(BadRequest, match="takes 4 arguments"):
        redrawn(script_name="SD upscale", script_args=["", 8, "Lanczos", 2.0, 1])


def test_fields_of_our_own_wire_mean_nothing_here() -> None:
    result = redrawn(script="SD upscale", task="txt2img")
    assert isinstance(result.request, Img2ImgRequest)
    assert (result.request.script, result.ignored) == ("", ("script", "task"))


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, False),
        ({"save_images": True}, True),
        ({"save_images": None}, False),
        ({"override_settings": {"return_grid": True}}, False),
    ],
)
def test_a_grid_comes_with_pictures_that_are_saved_and_only_with_them(  # A004
    fields: dict[str, Any], wanted: bool
) -> None:
    assert translated(**fields).wants_grid is wanted


def test_no_style_is_none() -> None:
    assert translated(styles=["", "ink", "None"]).request.styles == ("ink",)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
NAMES = st.sampled_from(["SD upscale", "refiner", "Sampler", "SEED", "soft inpainting", "ControlNet", "loopback"])


@settings(deadline=None, max_examples=50)
@given(
    scripts=st.dictionaries(NAMES, JSON | st.fixed_dictionaries({"args": JSON}), max_size=4),
    name=st.none() | NAMES,
    arguments=st.none() | st.lists(JSON, max_size=6),
    overrides=st.none() | st.dictionaries(st.sampled_from(["n_rows", "return_grid", "sd_vae", "x"]), JSON),
)
def test_whatever_scripts_are_sent_is_a_request_or_refused_in_words(
    scripts: dict[str, Any], name: str | None, arguments: list[Any] | None, overrides: dict[str, Any] | None
) -> None:
    asked = {"alwayson_scripts": scripts, "script_name": name, "script_args": arguments, "override_settings": overrides}
    try:
        result = redrawn(**asked)
    except TagbrushError as error:
        assert len(str(error)) > 10
    else:
        assert isinstance(result.request, Img2ImgRequest)


def test_fields_of_hires_fix_mean_nothing_while_it_is_off() -> None:
    """Clients fill them with zeros, and with upscalers of other servers."""
    anything = {"hr_scale": 0, "hr_upscaler": "R-ESRGAN 4x+", "hr_sampler_name": "string", "hr_resize_x": -1}
    assert translated(**anything, hr_checkpoint_name="string", hr_additional_modules=[1]).ignored == ()
    assert translated(**anything).request == translated().request
    assert redrawn(**anything).ignored == ()
    with pytest.raises(UnknownName, match="R-ESRGAN"):
        translated(enable_hr=True, hr_upscaler="R-ESRGAN 4x+")
    with pytest.raises(BadRequest, match="hr_scale"):
        translated(enable_hr=True, hr_scale=0)
    sized = translated(enable_hr=True, hr_scale=0, hr_resize_x=128).request
    assert isinstance(sized, Txt2ImgRequest)
    assert (sized.hr_scale, sized.hr_resize_x) == (1.0, 128)


@pytest.mark.parametrize("nothing", [None, ""])
def test_an_option_that_is_null_is_not_given_and_neither_is_a_checkpoint_without_a_name(nothing: Any) -> None:
    sent = {"sd_model_checkpoint": nothing, "CLIP_stop_at_last_layers": 2}
    result = translated(override_settings=sent, override_settings_restore_afterwards=False)
    assert result.request.override_settings == result.lasting == {"CLIP_stop_at_last_layers": 2}
    assert result.ignored == ()


@pytest.mark.parametrize(
    ("written", "fields", "near"),
    [
        ("Sampler: Eular a", {}, "Euler a"),
        ("Sampler: Eular a", {"scheduler": "Karras", "steps": 5}, "Euler a"),
        ("Sampler: Euler, Schedule type: Karas", {}, "Karras"),
        ("Sampler: Euler, Denoising strength: 0.5, Hires upscale: 2, Hires sampler: Eular a", {}, "Euler a"),
        ("Sampler: Euler, Denoising strength: 0.5, Hires upscale: 2, Hires schedule type: Karas", {}, "Karras"),
    ],
)
def test_a_sampler_or_schedule_that_there_is_not_is_refused_in_an_infotext_too(  # U009, A006, A007
    written: str, fields: dict[str, Any], near: str
) -> None:
    with pytest.raises(UnknownName, match=f'Did you mean "{near}"'):
        translated(infotext=f"a lemon\nSteps: 7, {written}, Seed: 5, Size: 64x64", **fields)


@pytest.mark.parametrize(
    ("written", "fields"),
    [
        ("Sampler: Eular a", {"sampler_name": "LCM"}),
        ("Sampler: Eular a", {"sampler_name": "", "sampler_index": "LCM"}),
        ("Sampler: Eular a", {"alwayson_scripts": {"Sampler": {"args": [7, "LCM"]}}}),
        ("Sampler: LCM, Schedule type: Karas", {"scheduler": "Karras"}),
        (
            "Sampler: LCM, Denoising strength: 0.5, Hires upscale: 2, Hires sampler: Eular a",
            {"enable_hr": False},
        ),
        (
            "Sampler: LCM, Denoising strength: 0.5, Hires upscale: 2, Hires sampler: Eular a",
            {"hr_sampler_name": "Heun"},
        ),
    ],
)
def test_what_an_infotext_says_of_a_field_that_is_given_does_not_matter(written: str, fields: dict[str, Any]) -> None:
    result = translated(infotext=f"a lemon\nSteps: 7, {written}, Seed: 5, Size: 64x64", **fields)
    assert result.request.sampler_name == "LCM"
    assert result.notices == ()


def test_what_of_an_infotext_could_not_be_used_is_told() -> None:  # A007
    text = "a lemon\nSteps: 7, Sampler: Euler, CFG scale: 9999, Seed: 5, Size: 64x64, Clip skip: 99"
    result = translated(infotext=text, restore_faces=True)
    assert [notice[:9] for notice in result.notices[:2]] == ["CFG Scale", "Clip skip"]
    assert result.notices[2:] == (NO_FACES,)
    assert (result.request.cfg_scale, result.request.steps) == (None, 7)
    assert [notice[:9] for notice in translated(infotext=text, cfg_scale=5).notices] == ["Clip skip"]


def test_a_schedule_inside_an_infotexts_sampler_stays_where_the_sampler_is_given() -> None:  # U009
    text = "a\nSteps: 7, Sampler: DPM++ 2M Karras, Seed: 5"
    for sampler in ("LCM", "LCM Exponential"):
        request = translated(infotext=text, sampler_name=sampler).request
        assert (request.sampler_name, request.scheduler) == ("LCM", "Karras")


@pytest.mark.parametrize("field", ["sampler_name", "sampler_index"])
@pytest.mark.parametrize(
    ("more", "schedule"),
    [
        ({}, "Karras"),
        ({"scheduler": ""}, "Karras"),
        ({"scheduler": "Exponential"}, "Exponential"),
        ({"scheduler": "Automatic"}, "Automatic"),
    ],
)
def test_a_schedule_goes_before_the_one_inside_a_sampler(field: str, more: dict[str, Any], schedule: str) -> None:
    request = translated(**{field: "LMS Karras"}, **more).request  # U009, A006
    assert (request.sampler_name, request.scheduler) in {("LMS", schedule), (f"LMS {schedule}", "Automatic")}


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ({"width": 665.6, "height": "128", "steps": 20.0}, {"width": 665, "height": 128, "steps": 20}),
        ({"seed": -1.0, "n_iter": True, "subseed": 7.9}, {"seed": -1, "n_iter": 1, "subseed": 7}),
        ({"firstphase_width": 384.5, "enable_hr": True, "firstphase_height": 512.2}, {"width": 384, "height": 512}),
        ({"styles": [1, 2.5, "ink"]}, {"styles": ("1", "2.5", "ink")}),
        ({"prompt": 5, "scheduler": "Karras"}, {"prompt": "5", "scheduler": "Karras"}),
        ({"override_settings": [], "alwayson_scripts": [], "comments": []}, {"override_settings": {}}),
    ],
)
def test_values_are_read_as_leniently_as_in_a1111(sent: dict[str, Any], read: dict[str, Any]) -> None:  # A002
    """Pydantic 1 cuts floats, and takes numbers for texts and PHP's empty array for an empty object."""
    result = translated(**sent)
    assert {name: getattr(result.request, name) for name in read} == read
    assert result.ignored == ()


def test_a_task_may_have_a_number_for_a_name() -> None:
    assert translated(force_task_id=123).task_id == "123"
    assert TaskPayload(id_task=123, id_live_preview=-1.0).model_dump() == {
        "id_task": "123", "id_live_preview": -1, "live_preview": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    "fields",
    [
        {"width": "665.6"},
        {"width": float("inf")},
        {"steps": float("nan")},
        {"override_settings": ["CLIP_stop_at_last_layers"]},
        {"prompt": ["a"]},
        {"width": 63.9},
    ],
)
def test_values_that_make_no_sense_there_either_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        translated(**fields)


BOTH_DEFAULTS: dict[str, Any] = {
    "prompt": "", "negative_prompt": "", "styles": None, "seed": -1, "subseed": -1, "subseed_strength": 0,
    "seed_resize_from_h": -1, "seed_resize_from_w": -1, "sampler_name": None, "scheduler": None, "batch_size": 1,
    "n_iter": 1, "steps": 50, "cfg_scale": 7.0, "width": 512, "height": 512, "restore_faces": None, "tiling": None,
    "do_not_save_samples": False, "do_not_save_grid": False, "eta": None, "denoising_strength": 0.75,
    "s_min_uncond": None, "s_churn": None, "s_tmax": None, "s_tmin": None, "s_noise": None, "override_settings": None,
    "override_settings_restore_afterwards": True, "refiner_checkpoint": None, "refiner_switch_at": None,
    "disable_extra_networks": False, "comments": None, "force_task_id": None,
    "sampler_index": "Euler", "script_name": None, "script_args": [], "send_images": True, "save_images": False,
    "alwayson_scripts": {}, "infotext": None,
}  # fmt: skip
HIRES_DEFAULTS: dict[str, Any] = {
    "enable_hr": False, "firstphase_width": 0, "firstphase_height": 0, "hr_scale": 2.0, "hr_upscaler": None,
    "hr_second_pass_steps": 0, "hr_resize_x": 0, "hr_resize_y": 0, "hr_checkpoint_name": None, "hr_sampler_name": None,
    "hr_scheduler": None, "hr_prompt": "", "hr_negative_prompt": "", "firstpass_image": None,
}  # fmt: skip
START_DEFAULTS: dict[str, Any] = {
    "init_images": [ENCODED], "resize_mode": 0, "image_cfg_scale": None, "mask": None, "mask_blur_x": 4,
    "mask_blur_y": 4, "mask_blur": None, "mask_round": True, "inpainting_fill": 0, "inpaint_full_res": True,
    "inpaint_full_res_padding": 0, "inpainting_mask_invert": 0, "initial_noise_multiplier": None, "latent_mask": None,
    "include_init_images": False,
}  # fmt: skip


def test_every_field_of_a1111_at_its_default_is_as_none_at_all() -> None:  # A002, A003
    size = {"width": 512, "height": 512, "cfg_scale": 7.0}
    drawn = translated(**BOTH_DEFAULTS, **HIRES_DEFAULTS)
    assert drawn.ignored == ()
    off = {"seed_resize_from_h": -1, "seed_resize_from_w": -1}
    assert drawn.request == translated(**size, **off).request
    again = redrawn(**BOTH_DEFAULTS, **START_DEFAULTS)
    assert again.ignored == ()
    assert again.request == redrawn(**size, **off, mask_blur_x=4, mask_blur_y=4).request


def test_a_picture_guides_instruct_pix2pix_only_where_the_payload_says_how_closely() -> None:  # A003
    def scale(**fields: Any) -> float | None:
        request = redrawn(**fields).request
        assert isinstance(request, Img2ImgRequest)
        return request.image_cfg_scale

    assert (scale(), scale(image_cfg_scale=None), scale(image_cfg_scale=1.5)) == (None, None, 1.5)
    text = "a\nSteps: 20, Sampler: Euler, CFG scale: 7, Image CFG scale: 1.2"
    assert (scale(infotext=text), scale(infotext=text, image_cfg_scale=2.0)) == (1.2, 2.0)


def test_every_field_of_a1111_is_known() -> None:  # A002, A003
    assert Txt2ImgPayload.model_fields.keys() == BOTH_DEFAULTS.keys() | HIRES_DEFAULTS.keys()
    assert Img2ImgPayload.model_fields.keys() == BOTH_DEFAULTS.keys() | START_DEFAULTS.keys()


def test_every_field_of_a1111_may_be_sent_for_the_other_task_too() -> None:
    everything = BOTH_DEFAULTS | HIRES_DEFAULTS | START_DEFAULTS
    assert translated(**everything).ignored == ("init_images",)
    assert redrawn(**everything).ignored == ()


def test_a_job_is_never_at_nothing_and_never_beyond_the_end() -> None:
    """A1111 begins at a hundredth: clients that wait for 0 would take a server for idle that loads a model."""
    assert progress([], "", None).progress == 0
    assert progress([WAITING], "", None).progress == 0.01
    assert progress([RUNNING.model_copy(update={"progress": None})], "", None).progress == 0.01
    assert progress([RUNNING], "", None).progress == pytest.approx(0.41)
    whole = PROGRESS.model_copy(update={"progress": 1.0})
    assert progress([RUNNING.model_copy(update={"progress": whole})], "", None).progress == 1


@pytest.mark.parametrize(
    ("active", "last", "skipped", "interrupted"),
    [
        (RUNNING, None, False, False),
        (RUNNING.model_copy(update={"wanted": JobState.INTERRUPTED}), None, False, True),
        (RUNNING.model_copy(update={"progress": PROGRESS.model_copy(update={"is_skipped": True})}), None, True, False),
        (None, None, False, False),
        (None, DONE, False, False),
        (None, DONE.model_copy(update={"state": JobState.INTERRUPTED}), False, True),
        (None, DONE.model_copy(update={"state": JobState.CANCELLED}), False, True),
        (None, DONE.model_copy(update={"state": JobState.FAILED}), False, False),
    ],
)
def test_clients_see_that_a_job_was_asked_to_end_or_a_batch_to_be_left_out(  # A011
    active: Job | None, last: Job | None, skipped: bool, interrupted: bool
) -> None:
    state = progress([active] if active else [], "", None, last=last).state
    assert (state.skipped, state.interrupted) == (skipped, interrupted)
