"""Tiles of a picture: where they lie, and that they make the picture again."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from modules.images.tiles import TileGrid, combine, lay_out, split
from modules.params import BadRequest


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


@st.composite
def grids(draw: st.DrawFn) -> TileGrid:
    tile = (draw(st.integers(2, 40)), draw(st.integers(2, 40)))
    overlap = draw(st.integers(0, min(tile) - 1))
    return lay_out(draw(st.integers(1, 90)), draw(st.integers(1, 90)), *tile, overlap)


@settings(deadline=None)
@given(grids())
def test_tiles_cover_the_picture_and_overlap_by_at_least_what_was_asked(grid: TileGrid) -> None:  # S006
    for starts, tile, length in (
        (grid.lefts, grid.tile_width, grid.width),
        (grid.tops, grid.tile_height, grid.height),
    ):
        assert starts[0] == 0 and starts[-1] + tile == max(length, tile)
        assert all(0 < later - earlier <= tile - grid.overlap for earlier, later in pairwise(starts))
    assert len(grid.regions) == len(grid)


@settings(deadline=None)
@given(grids())
def test_there_are_no_more_tiles_than_it_takes(grid: TileGrid) -> None:
    for starts, tile, length in (
        (grid.lefts, grid.tile_width, grid.width),
        (grid.tops, grid.tile_height, grid.height),
    ):
        fewer = len(starts) - 1
        assert fewer * tile - (fewer - 1) * grid.overlap < max(length, tile)


@settings(deadline=None, max_examples=60)
@given(grids())
def test_the_tiles_of_a_picture_make_the_picture_again(grid: TileGrid) -> None:
    image = noise(grid.width, grid.height)
    tiles = split(image, grid)
    assert {tile.size for tile in tiles} == {(grid.tile_width, grid.tile_height)}
    assert np.array_equal(pixels(combine(tiles, grid)), pixels(image))


def test_one_tile_fades_into_the_next_in_a_straight_line() -> None:
    grid = lay_out(48, 32, 32, 32, 16)
    assert grid.lefts == (0, 16)
    black, white = Image.new("RGB", (32, 32)), Image.new("RGB", (32, 32), "white")
    row = pixels(combine([black, white], grid))[0, :, 0]
    assert np.array_equal(row[:16], np.zeros(16)) and np.array_equal(row[32:], np.full(16, 255))
    assert np.abs(row[16:32] - np.arange(16) * 255 / 16).max() <= 1


def test_lower_tiles_fade_into_upper_ones_too() -> None:
    grid = lay_out(32, 48, 32, 32, 16)
    black, white = Image.new("RGB", (32, 32)), Image.new("RGB", (32, 32), "white")
    column = pixels(combine([black, white], grid))[:, 0, 0]
    assert column[15] == 0 and column[32] == 255 and (np.diff(column[16:32]) > 0).all()


def test_a1111s_tiles_of_a_doubled_picture_are_nine() -> None:
    grid = lay_out(1024, 1024, 512, 512, 64)
    assert grid.lefts == grid.tops == (0, 256, 512)


def test_a_picture_smaller_than_a_tile_is_one_tile_with_its_mirror_around_it() -> None:
    image = noise(5, 3)
    (tile,) = split(image, lay_out(5, 3, 16, 8, 4))
    assert tile.size == (16, 8)
    assert np.array_equal(pixels(tile)[:3, 5:10], pixels(image)[:, ::-1])


def test_tiles_that_are_all_overlap_are_refused_in_words() -> None:
    with pytest.raises(BadRequest, match=r"overlap is 64 .* 512x64.*smaller"):
        lay_out(512, 512, 512, 64, 64)
