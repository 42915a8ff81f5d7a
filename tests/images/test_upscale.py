"""Enlarging finished pictures: sizes, contents, mixtures and refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from modules.images import upscale
from modules.images.upscale import upscale_by
from modules.params import BadRequest, Extras, UnknownUpscaler


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


SIDES = st.integers(1, 80)


@settings(deadline=None)
@given(SIDES, SIDES, st.sampled_from([0.5, 1, 1.3, 2, 4]), st.sampled_from(["Lanczos", "Nearest"]))
def test_scaled_by_a_factor_both_sides_are_multiples_of_eight(  # A010, T002
    width: int, height: int, factor: float, name: str
) -> None:
    extras = Extras(upscaling_resize=factor, upscaler_1=name)
    result = upscale(noise(width, height), extras).image
    assert result.size == tuple(max(8, int(side * factor // 8 * 8)) for side in (width, height))
    assert result.size == extras.size(width, height)


@settings(deadline=None)
@given(SIDES, SIDES, SIDES, SIDES)
def test_scaled_to_a_size_it_fills_it_with_what_was_in_the_picture(
    width: int, height: int, to_width: int, to_height: int
) -> None:
    extras = Extras(resize_mode=1, upscaling_resize_w=to_width, upscaling_resize_h=to_height, upscaler_1="Lanczos")
    result = upscale(Image.new("RGB", (width, height), "red"), extras).image
    assert result.size == (to_width, to_height)
    assert np.ptp(pixels(result).reshape(-1, 3), axis=0).max() == 0  # no black edges


@settings(deadline=None)
@given(SIDES, SIDES)
def test_without_cropping_the_whole_picture_covers_the_size(width: int, height: int) -> None:
    extras = Extras(
        resize_mode=1, upscaling_resize_w=96, upscaling_resize_h=64, upscaling_crop=False, upscaler_1="Nearest"
    )
    result = upscale(noise(width, height), extras).image
    assert result.width >= 96 and result.height >= 64
    assert result.width == 96 or result.height == 64
    assert result.size == extras.size(width, height)


def test_nearest_copies_pixels_and_lanczos_smooths_them() -> None:
    image = noise(16, 16)
    near = upscale(image, Extras(upscaler_1="Nearest")).image
    assert np.array_equal(pixels(near), pixels(image).repeat(2, 0).repeat(2, 1))
    smooth = upscale(image, Extras(upscaler_1="Lanczos")).image
    assert np.array_equal(pixels(smooth), pixels(image.resize((32, 32), Image.Resampling.LANCZOS)))


def test_two_upscalers_are_mixed_by_the_visibility_of_the_second() -> None:
    image = noise(24, 16)
    alone = [pixels(upscale(image, Extras(upscaler_1=name)).image) for name in ("Lanczos", "Nearest")]
    for visibility in (0.0, 0.25, 1.0):
        extras = Extras(upscaler_1="Lanczos", upscaler_2="Nearest", extras_upscaler_2_visibility=visibility)
        mixed = pixels(upscale(image, extras).image)
        assert np.abs(mixed - (alone[0] * (1 - visibility) + alone[1] * visibility)).max() <= 1


def test_without_an_upscaler_the_picture_stays_as_it_is() -> None:
    image = noise(30, 20)
    done = upscale(image, Extras(upscaler_2="Lanczos", extras_upscaler_2_visibility=1))
    assert np.array_equal(pixels(done.image), pixels(image)) and done.fields == {}


def test_what_is_transparent_stays_so() -> None:
    image = Image.new("RGBA", (16, 16), (255, 0, 0, 0))
    result = upscale(image, Extras(upscaler_1="Lanczos")).image
    assert result.mode == "RGBA" and result.getchannel("A").getextrema() == (0, 0)


def test_the_text_says_how_it_was_enlarged_in_a1111s_words() -> None:  # I013
    both = Extras(upscaling_resize=2.5, upscaler_1="Lanczos", upscaler_2="Nearest", extras_upscaler_2_visibility=0.5)
    assert dict(upscale(noise(16, 16), both).fields) == {
        "Postprocess upscale by": "2.5",
        "Postprocess upscaler": "Lanczos",
        "Postprocess upscaler 2": "Nearest",
    }
    to = Extras(resize_mode=1, upscaling_resize_w=32, upscaling_resize_h=24, upscaler_1="Lanczos")
    assert dict(upscale(noise(16, 16), to).fields) == {
        "Postprocess upscale to": "32x24",
        "Postprocess crop to": "32x24",
        "Postprocess upscaler": "Lanczos",
    }


@pytest.mark.parametrize("name", ["R-ESRGAN 4x+", "ESRGAN_4x", "SwinIR_4x", "LDSR"])
def test_upscalers_that_are_models_are_refused_in_words(name: str) -> None:
    with pytest.raises(UnknownUpscaler, match=r"models .* later") as error:
        Extras(upscaler_1=name)
    assert name in str(error.value) and "Lanczos" in str(error.value)
    with pytest.raises(UnknownUpscaler):
        upscale_by(noise(8, 8), 2, name)


def test_names_are_found_whatever_their_case_and_nothing_means_none() -> None:
    extras = Extras(upscaler_1="lanczos", upscaler_2="")
    assert (extras.upscaler_1, extras.upscaler_2) == ("Lanczos", "None")


def test_sizes_beyond_the_limits_are_refused_before_any_work() -> None:
    with pytest.raises(BadRequest, match=r"16384x16384.*8192"):
        upscale(Image.new("RGB", (4096, 4096)), Extras(upscaling_resize=4, upscaler_1="Lanczos"))
    with pytest.raises(BadRequest, match="8192"):
        Extras(resize_mode=1, upscaling_resize_w=1000, upscaling_crop=False, upscaler_1="Lanczos").size(10, 4000)
    with pytest.raises(ValidationError):
        Extras(upscaling_resize=0)
