"""Pictures and masks on their way to the size that is drawn at, and back."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from PIL import Image, ImageOps

from modules.images import BadPicture
from modules.params import Img2ImgRequest, Settings
from modules.pipeline.canvas import Canvas, describe_start, finish, prepare, read_canvas
from modules.pipeline.choices import choose_start
from modules.pipeline.plans import Start

from .conftest import GOLDEN, golden

CASES = [case for case in golden("sampling_img.json")["cases"] if "mask_for_overlay" in case]
MASKED = {"init_images": ("x",), "mask": "y"}


def start_of(settings: dict[str, Any] | None = None, **fields: Any) -> Start:
    request = Img2ImgRequest.model_validate({**MASKED, **fields})
    return choose_start(request, Settings().overridden(settings or {}))


def noise(width: int, height: int, mode: str = "RGB", seed: int = 0) -> Image.Image:
    shape = (height, width, 3) if mode == "RGB" else (height, width)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8), mode)


def box(width: int, height: int, *corners: int) -> Image.Image:
    drawn = Image.new("L", (width, height))
    drawn.paste(255, corners)
    return drawn


def file_of(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def pixels(image: Image.Image | None) -> np.ndarray:
    assert image is not None
    return np.asarray(image).astype(int)


def silent(text: str) -> None:
    raise AssertionError(text)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_mask_and_the_region_are_the_references(case: dict[str, Any]) -> None:
    """U022: blurred, grown by its padding, expanded to the canvas's shape."""
    args = case["args"]
    start = start_of(case["opts"], **{key: args[key] for key in args if key in Img2ImgRequest.model_fields})
    data, mask = (GOLDEN / args["init_images"][0]).read_bytes(), (GOLDEN / args["mask"]).read_bytes()
    canvas = read_canvas(data, mask, start, args["width"], args["height"], silent)
    assert np.array_equal(pixels(canvas.cover), pixels(Image.open(GOLDEN / case["mask_for_overlay"])))
    region = canvas.region and [canvas.region.left, canvas.region.top, canvas.region.width, canvas.region.height]
    assert region == case.get("paste_to")


SIZES = st.tuples(st.integers(1, 60), st.integers(1, 60))


@examples(deadline=None, max_examples=60)
@given(SIZES, SIZES, st.sampled_from([0, 1, 2, 3]), st.booleans(), st.integers(0, 3), st.integers(0, 9))
def test_any_picture_and_mask_fit_each_other(
    size: tuple[int, int],
    mask_size: tuple[int, int],
    mode: int,
    only_masked: bool,
    fill: int,
    blur: int,
) -> None:
    start = start_of(
        resize_mode=mode,
        inpaint_full_res=int(only_masked),
        inpainting_fill=fill,
        mask_blur=blur,
        inpaint_full_res_padding=3,
    )
    picture, marked = noise(*size), noise(*mask_size, mode="L")
    canvas = prepare(picture, marked, start, 64, 128, lambda text: None)
    assert canvas.mask is not None and canvas.mask.size == (64, 128)
    assert canvas.picture.size == (64, 128) or (mode == 3 and not only_masked)
    finished = finish(noise(64, 128), canvas, start.inpaint)
    assert finished.image.size == (picture.size if only_masked else (64, 128))


@pytest.mark.parametrize("area", [0, 1])
@pytest.mark.parametrize("blur", [0, 4])
def test_nothing_outside_the_mask_changes(area: int, blur: int) -> None:
    """U023: bit for bit, where the blurred mask is black."""
    start = start_of(inpaint_full_res=area, mask_blur=blur, inpaint_full_res_padding=8)
    picture = noise(96, 64)
    canvas = prepare(picture, box(96, 64, 20, 20, 50, 44), start, 96, 64, silent)
    result = pixels(finish(noise(96, 64, seed=1), canvas, start.inpaint).image)
    outside = pixels(canvas.cover) == 0
    assert outside.mean() > 0.3
    assert np.array_equal(result[outside], pixels(picture)[outside])
    assert not np.array_equal(result, pixels(picture))


def test_an_inverted_mask_of_an_inverted_picture_is_the_mask() -> None:
    picture, marked = noise(64, 64), noise(64, 64, mode="L", seed=2)
    plain, inverted = start_of(), start_of(inpainting_mask_invert=1)
    first = read_canvas(file_of(picture), file_of(marked), plain, 64, 64, silent)
    second = read_canvas(file_of(picture), file_of(ImageOps.invert(marked)), inverted, 64, 64, silent)
    assert np.array_equal(pixels(first.mask), pixels(second.mask))
    assert np.array_equal(pixels(first.overlay), pixels(second.overlay))


def test_only_masked_with_a_full_mask_is_the_whole_picture() -> None:
    picture, marked, made = noise(64, 128), Image.new("L", (64, 128), 255), noise(64, 128, seed=1)
    whole, masked = start_of(inpaint_full_res=0), start_of(inpaint_full_res=1)
    one, other = (prepare(picture, marked, start, 64, 128, silent) for start in (whole, masked))
    assert np.array_equal(pixels(one.picture), pixels(other.picture))
    assert np.array_equal(pixels(one.mask), pixels(other.mask))
    results = [finish(made, canvas, start.inpaint).image for canvas, start in ((one, whole), (other, masked))]
    assert np.array_equal(pixels(results[0]), pixels(results[1]))


def test_an_empty_mask_with_only_masked_makes_the_whole_picture_anew_and_says_so() -> None:
    start = start_of(inpaint_full_res=1)
    told: list[str] = []
    canvas = prepare(noise(80, 40), Image.new("L", (80, 40)), start, 64, 64, told.append)
    assert canvas.mask is canvas.overlay is canvas.region is None
    assert canvas.picture.size == (64, 64)
    assert len(told) == 1 and "empty" in told[0]
    assert "Inpaint area" not in describe_start(start, canvas)


def test_a_mask_of_another_size_is_stretched_over_the_picture_and_says_so() -> None:
    told: list[str] = []
    start = start_of(inpaint_full_res=1, mask_blur=0, inpaint_full_res_padding=0)
    canvas = prepare(noise(128, 64), box(64, 32, 16, 8, 32, 24), start, 64, 64, told.append)
    assert canvas.region is not None
    assert (canvas.region.left, canvas.region.right) == pytest.approx((32, 64), abs=4)
    assert "64x32" in told[0] and "128x64" in told[0]


def test_a_single_pixel_can_be_masked() -> None:
    start = start_of(inpaint_full_res=1, mask_blur=0, inpaint_full_res_padding=0)
    picture = noise(40, 40)
    canvas = prepare(picture, box(40, 40, 17, 23, 18, 24), start, 64, 64, silent)
    assert canvas.region == (17, 23, 18, 24)
    changed = (pixels(finish(noise(64, 64, seed=1), canvas, start.inpaint).image) != pixels(picture)).any(-1)
    assert np.argwhere(changed).tolist() == [[23, 17]]


def test_without_the_overlay_a_part_stays_alone() -> None:
    start = start_of({"overlay_inpaint": False}, inpaint_full_res=1)
    canvas = prepare(noise(200, 100), box(200, 100, 20, 20, 60, 60), start, 64, 64, silent)
    made = noise(64, 64, seed=1)
    assert np.array_equal(pixels(finish(made, canvas, start.inpaint).image), pixels(made))


def test_mask_and_composite_are_shown_on_request() -> None:
    quiet, asked = start_of(), start_of({"return_mask": True, "return_mask_composite": True}, inpaint_full_res=1)
    canvas = prepare(noise(200, 100), box(200, 100, 20, 20, 60, 60), asked, 64, 64, silent)
    finished = finish(noise(64, 64), canvas, asked.inpaint)
    assert [(kind, image.size) for kind, image in finished.beside] == [("mask", (200, 100)), ("composite", (200, 100))]
    assert finish(noise(64, 64), canvas, quiet.inpaint).beside == ()


def test_a_picture_stretched_as_latents_keeps_its_pixels_and_its_overlay_fits() -> None:
    start = start_of(resize_mode=3)
    picture = noise(80, 40)
    canvas = prepare(picture, box(80, 40, 0, 0, 40, 40), start, 64, 64, silent)
    assert np.array_equal(pixels(canvas.picture), pixels(picture))
    assert canvas.overlay is not None and canvas.overlay.size == (64, 64)
    mask = pixels(canvas.mask)
    assert mask[:, :28].min() > 200 and mask[:, 36:].max() < 55  # the left half, however wide it is drawn


def test_a_picture_too_large_to_be_encoded_as_it_is_is_refused_in_words() -> None:
    start = replace(start_of(resize_mode=3), inpaint=None)
    with pytest.raises(BadPicture, match="another resize mode"):
        read_canvas(file_of(Image.new("L", (8000, 4000))), None, start, 64, 64, silent)


def test_a_picture_smaller_than_a_latent_can_be_stretched_as_latents() -> None:
    start = replace(start_of(resize_mode=3), inpaint=None)
    assert read_canvas(file_of(noise(1, 3)), None, start, 64, 64, silent).picture.size == (8, 8)


def test_colours_are_matched_to_the_picture_that_was_given() -> None:
    start = replace(start_of({"img2img_color_correction": True}), inpaint=None)
    given = Image.new("RGB", (64, 64), (200, 120, 40))
    canvas = read_canvas(file_of(given), None, start, 64, 64, silent)
    result = pixels(finish(noise(64, 64), canvas, None).image)
    assert result[..., 0].mean() > result[..., 2].mean() + 20


def test_transparent_parts_of_a_picture_show_the_background_of_the_settings() -> None:
    """U024."""
    start = replace(start_of({"img2img_background_color": "#0000ff"}), inpaint=None)
    canvas = read_canvas(file_of(Image.new("RGBA", (64, 64), (9, 9, 9, 0))), None, start, 64, 64, silent)
    assert canvas.picture.getpixel((5, 5)) == (0, 0, 255)


def test_a_picture_lying_on_its_side_is_turned_upright() -> None:
    """U024."""
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    lying = Image.new("RGB", (64, 32), "black")
    lying.paste("white", (0, 0, 32, 32))
    lying.save(buffer, "PNG", exif=exif)
    start = replace(start_of(), inpaint=None)
    canvas = read_canvas(buffer.getvalue(), None, start, 64, 128, silent)
    assert canvas.picture.getpixel((32, 10)) == (255, 255, 255)
    assert canvas.picture.getpixel((32, 120)) == (0, 0, 0)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {"Mask blur": "4"}),
        ({"mask_blur": 0}, {}),
        ({"mask_blur_x": 2, "mask_blur_y": 9}, {}),
        ({"inpainting_mask_invert": 1}, {"Mask mode": "Inpaint not masked", "Mask blur": "4"}),
        (
            {"inpaint_full_res": 1, "inpainting_fill": 3, "inpaint_full_res_padding": 8},
            {
                "Mask blur": "4",
                "Inpaint area": "Only masked",
                "Masked area padding": "8",
                "Masked content": "latent nothing",
            },
        ),
        ({"initial_noise_multiplier": 0.8}, {"Mask blur": "4", "Noise multiplier": "0.8"}),
    ],
)
def test_an_infotext_says_how_the_picture_was_masked(fields: dict[str, Any], expected: dict[str, str]) -> None:
    start = start_of(**fields)
    canvas = prepare(noise(64, 64), box(64, 64, 8, 8, 32, 32), start, 64, 64, silent)
    assert list(describe_start(start, canvas).items()) == list(expected.items())


def test_no_mask_says_nothing() -> None:
    start = replace(start_of(), inpaint=None)
    assert describe_start(start, Canvas(noise(64, 64))) == {}
