"""A1111's built-in scripts: what their arguments say, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from modules.params import (
    PIXEL_UPSCALERS,
    SCRIPTS,
    BadRequest,
    UnknownName,
    batches,
    check_inputs,
    check_limits,
    find_script,
    format_infotext,
    make_request,
    parse_infotext,
    request_from_infotext,
    script_fields,
    shown_beside,
)
from modules.params.infotext import Infotext
from modules.params.scripts import NOT_BUILT
from modules.params.settings import Settings


def fields(name: str, *args: Any, task: str = "img2img", always_on: bool = True) -> dict[str, Any]:
    return script_fields(find_script(name, task, always_on=always_on), args)


@pytest.mark.parametrize("upscaler", ["Lanczos", 1])
def test_sd_upscale_takes_a1111s_arguments_its_upscaler_by_name_or_place(upscaler: str | int) -> None:  # S006, A013
    found = fields("sd upscale", "", 96, upscaler, 3.0, always_on=False)
    request = make_request({"task": "img2img", **found})
    assert request.script == "SD upscale"
    assert (request.sd_upscale_overlap, request.sd_upscale_upscaler, request.sd_upscale_scale) == (96, "Lanczos", 3.0)


def test_arguments_that_are_missing_have_their_defaults() -> None:
    assert fields("SD upscale", always_on=False) == {"script": "SD upscale"}


def test_a_refiner_is_named_by_an_always_on_script() -> None:  # U006
    assert fields("Refiner", True, "model", 0.7) == {"refiner_checkpoint": "model", "refiner_switch_at": 0.7}
    assert fields("Refiner", False, "model", 0.7) == {}


def test_sampler_and_seed_are_set_by_always_on_scripts() -> None:
    assert fields("sampler", 30, "Euler a", "Karras", task="txt2img") == {
        "steps": 30,
        "sampler_name": "Euler a",
        "scheduler": "Karras",
    }
    assert fields("Seed", 5, False, 6, 0.5, 64, 32) == {"seed": 5}
    assert fields("Seed", 5, True, 6, 0.5, 64, 32) == {
        "seed": 5,
        "subseed": 6,
        "subseed_strength": 0.5,
        "seed_resize_from_w": 64,
        "seed_resize_from_h": 32,
    }


def test_soft_inpainting_is_an_always_on_script() -> None:  # U026
    found = fields("Soft inpainting", True, 1.5, 0.7, 6, 0.2, 1, 3)
    request = make_request({"task": "img2img", **found})
    assert request.soft_inpainting and request.soft_inpainting_transition_contrast_boost == 6
    assert fields("Soft inpainting", False, 1, 0.5, 4, 0, 0.5, 2) == {"soft_inpainting": False}


def test_every_argument_of_a_script_is_a_parameter_of_its_tasks_or_says_what_it_is() -> None:
    for script in SCRIPTS:
        for argument in script.arguments:
            assert argument.label or argument.declared
            for task in script.tasks:
                if argument.field:
                    make_request({"task": task, argument.field: argument.declared and argument.declared.default})


def test_what_is_not_there_is_refused_in_words() -> None:  # A006
    with pytest.raises(BadRequest, match="for img2img"):
        find_script("SD upscale", "txt2img")
    with pytest.raises(BadRequest, match="alwayson_scripts"):
        find_script("Refiner", "txt2img")
    with pytest.raises(BadRequest, match="script_name"):
        find_script("SD upscale", "img2img", always_on=True)
    for name in NOT_BUILT:
        with pytest.raises(BadRequest, match="not part of this version yet"):
            find_script(name.lower(), "img2img")
    with pytest.raises(UnknownName, match='Did you mean "SD upscale"'):
        find_script("SD upscaler", "img2img")


def test_arguments_that_make_no_sense_are_refused_in_words() -> None:
    with pytest.raises(BadRequest, match=r"takes 4 arguments and got 5.*Tile overlap"):
        fields("SD upscale", "", 64, 1, 2, 3, always_on=False)
    with pytest.raises(BadRequest, match="0 to 2: None, Lanczos, Nearest"):
        fields("SD upscale", "", 64, 7, 2, always_on=False)
    with pytest.raises(BadRequest, match="ESRGAN_4x"):
        make_request({"task": "img2img", **fields("SD upscale", "", 64, "ESRGAN_4x", 2, always_on=False)})
    with pytest.raises(BadRequest, match="sd_upscale_overlap"):
        make_request({"task": "img2img", **fields("SD upscale", "", -1, 0, 2, always_on=False)})


def test_a_request_names_a_script_in_any_case_and_no_other() -> None:
    assert make_request({"task": "img2img", "script": "sd UPSCALE"}).script == "SD upscale"
    assert make_request({"task": "img2img", "script": "None"}).script == ""
    with pytest.raises(UnknownName):
        make_request({"task": "img2img", "script": "Loopback"})


def test_tiles_are_made_together_and_pictures_one_after_another() -> None:
    request = make_request(
        {"task": "img2img", "script": "SD upscale", "batch_size": 4, "n_iter": 3, "init_images": ["a"], "mask": "m"}
    )
    assert [list(batch) for batch in batches(request)] == [[0], [1], [2]]
    assert shown_beside(request, Settings(return_mask=True)) == 0
    check_limits(request, Settings(max_pictures=3))
    check_inputs(request.model_copy(update={"init_images": tuple("abcdef")}))


@pytest.mark.parametrize("upscaler", PIXEL_UPSCALERS)
def test_a_text_with_sd_upscale_in_it_sets_the_script_again(upscaler: str) -> None:  # I018
    said = {"Steps": "3", "Sampler": "Euler", "CFG scale": "7.0"}
    said |= {"SD upscale overlap": "32", "SD upscale upscaler": upscaler, "SD upscale scale": "2.5"}
    text = format_infotext(Infotext("a cat", "", said))
    assert parse_infotext(text).fields == said
    found = request_from_infotext(text, "img2img").fields
    names = ("script", "sd_upscale_overlap", "sd_upscale_upscaler", "sd_upscale_scale")
    assert [found[name] for name in names] == ["SD upscale", 32, upscaler, 2.5]
    assert "script" not in request_from_infotext(text, "txt2img").fields


def test_a_text_of_a_model_upscaler_says_that_it_is_not_there() -> None:
    text = "a\nSteps: 3, Sampler: Euler, CFG scale: 7, SD upscale overlap: 64, SD upscale upscaler: R-ESRGAN 4x+"
    pasted = request_from_infotext(text, "img2img")
    assert pasted.fields["script"] == "SD upscale" and "sd_upscale_upscaler" not in pasted.fields
    assert any("R-ESRGAN" in notice and "Lanczos" in notice for notice in pasted.notices)


def test_any_other_text_turns_the_script_off() -> None:
    assert request_from_infotext("a\nSteps: 3, Sampler: Euler, CFG scale: 7", "img2img").fields["script"] == ""
