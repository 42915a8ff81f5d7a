"""Masks, regions and colours, held to what A1111 made, and to laws."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from modules.images import BadPicture, Region, expand_region, masked_region, resize_image
from modules.images.colours import match_colours
from modules.images.masks import (
    blur_mask,
    cut_out,
    decode_mask,
    fill_masked,
    lay_over,
    mask_composite,
    place_in,
    spread_mask,
)

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
OPERATIONS = json.loads((GOLDEN / "imageops.json").read_text())
INPAINTED = [
    case for case in json.loads((GOLDEN / "sampling_img.json").read_text())["cases"] if "mask_for_overlay" in case
]


def picture(name: str) -> Image.Image:
    return Image.open(GOLDEN / name).convert("RGB")


def mask(name: str) -> Image.Image:
    return decode_mask((GOLDEN / name).read_bytes())


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def file_of(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("case", OPERATIONS["crop_regions"], ids=str)
def test_a_masks_region_is_the_references(case: dict[str, Any]) -> None:
    assert list(masked_region(mask(case["mask"]), case["pad"]) or ()) == case["region"]


@pytest.mark.parametrize("case", OPERATIONS["expand"], ids=str)
def test_a_region_grows_to_a_shape_as_the_references(case: dict[str, Any]) -> None:
    marked = mask(case["mask"])
    region = masked_region(marked, case["pad"])
    assert region is not None
    assert list(expand_region(region, case["w"], case["h"], *marked.size)) == case["region"]


def test_what_is_masked_is_filled_pixel_for_pixel_as_in_the_reference() -> None:
    case = OPERATIONS["fill"]
    filled = fill_masked(picture(case["image"]), mask(case["mask"]))
    assert np.array_equal(pixels(filled), pixels(picture(case["file"])))


def test_colours_are_corrected_as_in_the_reference() -> None:
    """A last step cuts to 8 bits, where a rounding error decides: 1 in 1,800 pixels is one step off, one of them 4."""
    case = OPERATIONS["color_correction"]
    corrected = match_colours(picture(case["image"]), picture(case["target"]))
    error = np.abs(pixels(corrected) - pixels(picture(case["file"])))
    assert error.max() <= 4
    assert (error > 0).mean() < 1e-3


@pytest.mark.parametrize("case", INPAINTED, ids=lambda case: case["name"])
def test_the_mask_under_the_original_is_the_references(case: dict[str, Any]) -> None:
    """U022: inverted, blurred across and upright apart, fitted, and doubled where the whole picture is worked on."""
    args = case["args"]
    drawn = decode_mask((GOLDEN / args["mask"]).read_bytes(), is_round=args.get("mask_round", True))
    drawn = ImageOps.invert(drawn) if args["inpainting_mask_invert"] else drawn
    blur = args.get("mask_blur")
    drawn = blur_mask(drawn, args.get("mask_blur_x", blur), args.get("mask_blur_y", blur))
    if not args["inpaint_full_res"]:
        drawn = spread_mask(resize_image(drawn, args["width"], args["height"], args["resize_mode"]))
    with Image.open(GOLDEN / case["mask_for_overlay"]) as expected:
        assert np.array_equal(pixels(drawn), pixels(expected))


# U023: which part of a mask's file says what is masked


def test_a_masks_alpha_counts_where_it_is_not_opaque_throughout() -> None:
    image = Image.new("RGBA", (2, 1), (255, 255, 255, 0))
    image.putpixel((1, 0), (0, 0, 0, 255))
    assert list(decode_mask(file_of(image)).tobytes()) == [0, 255]


def test_a_masks_alpha_counts_above_128_only() -> None:
    image = Image.new("RGBA", (3, 1))
    for place, alpha in enumerate((127, 128, 129)):
        image.putpixel((place, 0), (255, 255, 255, alpha))
    assert list(decode_mask(file_of(image)).tobytes()) == [0, 0, 255]
    assert list(decode_mask(file_of(image), is_round=False).tobytes()) == [127, 128, 129]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "RGB", "L", "1", "P"])
def test_an_opaque_masks_brightness_counts(mode: str) -> None:
    drawn = Image.new("L", (2, 1))
    drawn.putpixel((1, 0), 255)
    assert list(decode_mask(file_of(drawn.convert("RGB").convert(mode) if mode != "L" else drawn)).tobytes()) == [
        0,
        255,
    ]


def test_a_mask_of_sixteen_bits_is_read_by_its_brightness() -> None:
    assert list(decode_mask(file_of(Image.new("I;16", (1, 1), 0xFF00))).tobytes()) == [255]


def test_of_an_animated_mask_the_first_picture_counts() -> None:
    frames = [Image.new("L", (4, 4), value) for value in (255, 0)]
    data = file_of(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode_mask(data).getextrema() == (255, 255)


def test_a_mask_lying_on_its_side_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode_mask(file_of(Image.new("L", (16, 8)), "JPEG", exif=exif)).size == (8, 16)


@given(st.binary(max_size=200))
def test_rubbish_is_no_mask(data: bytes) -> None:
    with pytest.raises(BadPicture):
        decode_mask(data)


# Laws

MASKS = st.tuples(st.integers(1, 24), st.integers(1, 24), st.integers(0, 2**32 - 1)).map(
    lambda given: Image.fromarray(
        np.random.default_rng(given[2]).integers(0, 256, (given[1], given[0]), dtype=np.uint8), "L"
    )
)


@settings(deadline=None)
@given(MASKS, st.integers(0, 70), st.integers(0, 70))
def test_a_blur_keeps_size_and_range_and_an_even_mask(drawn: Image.Image, across: int, upright: int) -> None:
    blurred = blur_mask(drawn, across, upright)
    assert blurred.size == drawn.size and blurred.mode == "L"
    low, high = drawn.getextrema()
    assert low <= blurred.getextrema()[0] and blurred.getextrema()[1] <= high
    for value in (0, 255):
        even = Image.new("L", drawn.size, value)
        assert blur_mask(even, across, upright).getextrema() == (value, value)


@settings(deadline=None)
@given(MASKS, st.integers(0, 20))
def test_a_blur_across_is_the_blur_upright_of_the_mask_on_its_side(drawn: Image.Image, size: int) -> None:
    turned = drawn.transpose(Image.Transpose.TRANSPOSE)
    blurred = blur_mask(turned, 0, size).transpose(Image.Transpose.TRANSPOSE)
    assert np.array_equal(pixels(blurred), pixels(blur_mask(drawn, size, 0)))


@given(st.data())
def test_a_region_grows_inside_the_picture_and_never_shrinks(data: st.DataObject) -> None:
    width, height = data.draw(st.integers(1, 300)), data.draw(st.integers(1, 300))
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    right, bottom = data.draw(st.integers(left + 1, width)), data.draw(st.integers(top + 1, height))
    region = Region(left, top, right, bottom)
    wanted = data.draw(st.integers(64, 2048)), data.draw(st.integers(64, 2048))
    grown = expand_region(region, *wanted, width, height)
    assert 0 <= grown.left <= left and right <= grown.right <= width
    assert 0 <= grown.top <= top and bottom <= grown.bottom <= height


def test_a_mask_of_nothing_has_no_region() -> None:
    assert masked_region(Image.new("L", (9, 9)), 4) is None


@settings(deadline=None)
@given(MASKS)
def test_outside_the_mask_the_original_covers_every_bit(drawn: Image.Image) -> None:
    rng = np.random.default_rng(0)
    shape = (drawn.height, drawn.width, 3)
    original, made = (Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)) for _ in range(2))
    laid = lay_over(made, cut_out(original, drawn).convert("RGBA"))
    outside, inside = pixels(drawn) == 0, pixels(drawn) == 255
    assert np.array_equal(pixels(laid)[outside], pixels(original)[outside])
    assert np.array_equal(pixels(laid)[inside], pixels(made)[inside])


def test_a_made_region_lies_where_it_was_cut_out() -> None:
    canvas = place_in(Image.new("RGB", (64, 64), "red"), (30, 20), Region(5, 6, 15, 16))
    assert canvas.getbbox() == (5, 6, 15, 16)


def test_a_composite_shows_what_the_mask_marks() -> None:
    drawn = Image.new("L", (8, 8))
    drawn.paste(255, (2, 2, 5, 5))
    shown = mask_composite(Image.new("RGB", (8, 8), "red"), drawn)
    assert shown.mode == "RGBA" and shown.getchannel("A").getbbox() == (2, 2, 5, 5)


def test_a_picture_corrected_to_its_own_colours_stays_about_the_same() -> None:
    image = picture("inputs/init200x120.png")
    assert np.abs(pixels(match_colours(image, image)) - pixels(image)).mean() < 2
