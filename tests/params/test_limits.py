"""How much a job may ask for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.params import BadRequest, LimitSettings, Settings, TooMuch, check_limits, check_pixels, make_request

LIMITS = Settings()


@pytest.mark.parametrize(
    "fields",
    [
        {"steps": 150, "width": 2048, "height": 2048, "batch_size": 8, "n_iter": 100},
        {"width": 1024, "height": 1024, "enable_hr": True, "hr_scale": 4, "hr_second_pass_steps": 150},
        {"width": 512, "height": 512, "batch_size": 128},
        {"prompt": "a very long prompt, " * 500},
        {"task": "img2img", "init_images": ("x",), "width": 5120, "height": 5120},
    ],
)
def test_what_a_card_of_24_gigabytes_can_do_is_allowed(fields: dict[str, Any]) -> None:
    check_limits(make_request(fields), LIMITS)


@pytest.mark.parametrize(
    ("fields", "name", "asked"),
    [
        ({"steps": 5001}, "max_steps", "5001 steps"),
        ({"enable_hr": True, "hr_second_pass_steps": 6000}, "max_steps", "6000 steps"),
        ({"width": 8192, "height": 8192}, "max_megapixels", "8192x8192 (67.1 megapixels)"),
        ({"width": 2048, "height": 2048, "enable_hr": True, "hr_scale": 4}, "max_megapixels", "8192x8192"),
        ({"enable_hr": True, "hr_resize_x": 8192, "hr_resize_y": 8192}, "max_megapixels", "8192x8192"),
        ({"width": 4096, "height": 4096, "batch_size": 8}, "max_batch_megapixels", "8 pictures of 4096x4096"),
        ({"batch_size": 128}, "max_batch_megapixels", "128 pictures of 1024x1024"),
        ({"batch_size": 2, "n_iter": 1001}, "max_pictures", "2002 pictures"),
        ({"negative_prompt": "x" * 100_001}, "max_prompt_length", "The negative prompt, of 100001 characters"),
        ({"hr_prompt": "x" * 100_001}, "max_prompt_length", "The hires prompt"),
    ],
)
def test_a_job_beyond_a_limit_is_refused_with_the_limit_and_how_to_raise_it(
    fields: dict[str, Any], name: str, asked: str
) -> None:
    with pytest.raises(TooMuch) as caught:
        check_limits(make_request(fields), LIMITS)
    text = str(caught.value)
    assert asked in text
    assert f"{name} is {getattr(LIMITS, name):g}" in text
    assert f'"{name}" in the options or in config.json' in text


@given(
    steps=st.integers(1, 10_000),
    width=st.integers(64, 8192),
    height=st.integers(64, 8192),
    batch_size=st.integers(1, 128),
    n_iter=st.integers(1, 10_000),
)
def test_a_job_passes_where_every_number_is_within_its_limit_and_only_there(**fields: int) -> None:
    pixels = fields["width"] * fields["height"] / 1e6
    fits = (
        fields["steps"] <= LIMITS.max_steps
        and pixels <= LIMITS.max_megapixels
        and pixels * fields["batch_size"] <= LIMITS.max_batch_megapixels
        and fields["batch_size"] * fields["n_iter"] <= LIMITS.max_pictures
    )
    if fits:
        check_limits(make_request(fields), LIMITS)
    else:
        with pytest.raises(TooMuch):
            check_limits(make_request(fields), LIMITS)


def test_a_raised_limit_lets_the_same_job_in() -> None:
    request = make_request({"steps": 10_000})
    check_limits(request, LIMITS.overridden({"max_steps": 10_000}))


@pytest.mark.parametrize("fields", [{"steps": 10**9}, {"width": 100_000, "height": 100_000}, {"batch_size": 10**6}])
def test_numbers_without_sense_are_no_request_at_all(fields: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match="less than or equal"):
        make_request(fields)


def test_whoever_makes_pictures_larger_asks_the_same_limit() -> None:
    check_pixels(6000, 6000, LimitSettings())
    with pytest.raises(TooMuch, match="8000x6000"):
        check_pixels(8000, 6000, LimitSettings())
