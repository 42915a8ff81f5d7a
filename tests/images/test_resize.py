"""Resizing and grids, held to what A1111 made."""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from modules.images import ResizeMode, grid, lanczos, nearest, resize_image
from modules.images.grid import grid_shape, side_by_side
from modules.params import BadRequest

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
CASES = json.loads((GOLDEN / "imageops.json").read_text())
UPSCALERS = {None: None, "Lanczos": lanczos, "Nearest": nearest}


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB")).astype(int)


@pytest.mark.parametrize("case", CASES["resize_image"], ids=lambda case: Path(case["file"]).stem)
def test_every_mode_gives_the_reference_pixel_for_pixel(case: dict[str, Any]) -> None:
    image = Image.open(GOLDEN / case["input"])
    result = resize_image(image, case["w"], case["h"], case["mode"], UPSCALERS[case["upscaler"]])
    assert np.array_equal(pixels(result), pixels(Image.open(GOLDEN / case["file"])))


def test_a_grid_gives_the_reference_pixel_for_pixel() -> None:
    first = Image.open(GOLDEN / "inputs/init128.png")
    second = Image.open(GOLDEN / "imageops/color_correction_input.png")
    result = grid([first, second, first.rotate(90)])
    assert np.array_equal(pixels(result), pixels(Image.open(GOLDEN / CASES["grid"]["file"])))


SIDES = st.integers(1, 90)


@settings(deadline=None)
@given(SIDES, SIDES, SIDES, SIDES, st.sampled_from(ResizeMode))
def test_the_result_has_the_asked_size_whatever_the_shapes(
    width: int, height: int, to_width: int, to_height: int, mode: ResizeMode
) -> None:
    for upscaler in (None, lanczos):
        result = resize_image(Image.new("RGB", (width, height), "red"), to_width, to_height, mode, upscaler)
        assert result.size == (to_width, to_height)


@pytest.mark.parametrize("mode", ResizeMode)
def test_a_picture_of_the_right_size_stays_as_it_is(mode: ResizeMode) -> None:
    image = Image.open(GOLDEN / "inputs/init128.png").convert("RGB")
    assert np.array_equal(pixels(resize_image(image, 128, 128, mode)), pixels(image))


@pytest.mark.parametrize("size", [(200_000, 1), (1, 200_000)])
@pytest.mark.parametrize("mode", ResizeMode)
def test_a_very_long_picture_takes_no_more_memory_than_others(size: tuple[int, int], mode: ResizeMode) -> None:
    assert resize_image(Image.new("RGB", size, "red"), 512, 512, mode, lanczos).size == (512, 512)


def test_an_unknown_mode_is_named() -> None:
    with pytest.raises(BadRequest, match="7"):
        resize_image(Image.new("RGB", (8, 8)), 8, 8, 7)


@given(st.integers(1, 30), st.none() | st.integers(1, 40))
def test_a_grid_has_a_cell_for_every_picture(count: int, rows: int | None) -> None:
    result = grid([Image.new("RGB", (4, 3))] * count, rows)
    assert (result.width // 4) * (result.height // 3) >= count


def test_a_picture_is_let_go_once_it_is_in_its_cell() -> None:
    there: list[weakref.ref[Image.Image]] = []
    counts: list[int] = []

    def made() -> Iterator[Image.Image]:
        for shade in range(9):
            image = Image.new("RGB", (4, 3), (shade, 0, 0))
            there.append(weakref.ref(image))
            counts.append(sum(known() is not None for known in there))
            yield image

    result = side_by_side(made(), *grid_shape(9))
    assert max(counts) <= 3  # the first, the one in hand, and the next
    assert [result.getpixel((place % 3 * 4, place // 3 * 3)) for place in range(9)] == [
        (shade, 0, 0) for shade in range(9)
    ]


def test_a_grid_of_nothing_is_refused() -> None:
    with pytest.raises(BadRequest):
        grid([])
