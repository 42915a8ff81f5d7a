"""A picture in overlapping tiles, and the tiles as one picture again, as A1111's script SD upscale has them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from modules.params import BadRequest

from .regions import Region

OPAQUE = 255


@dataclass(frozen=True)
class TileGrid:
    """Where the tiles of a picture lie, all of one size. A picture smaller than a tile is one, with more around it."""

    width: int
    height: int
    """Of the picture, in pixels."""
    tile_width: int
    tile_height: int
    overlap: int
    """Pixels that a tile fades in over; it may share more with its neighbours."""
    lefts: tuple[int, ...]
    tops: tuple[int, ...]

    @property
    def regions(self) -> tuple[Region, ...]:
        """Those of the tiles, row by row."""
        return tuple(
            Region(left, top, left + self.tile_width, top + self.tile_height)
            for top in self.tops
            for left in self.lefts
        )

    def __len__(self) -> int:
        return len(self.lefts) * len(self.tops)


def lay_out(width: int, height: int, tile_width: int, tile_height: int, overlap: int) -> TileGrid:
    """The fewest tiles that cover a picture and overlap by at least so many pixels, evenly spread.

    Raises BadRequest where the tiles are not larger than their overlap.
    """
    if overlap >= min(tile_width, tile_height):
        raise BadRequest(
            f"Tile overlap is {overlap} pixels, tiles have {tile_width}x{tile_height}. Make the overlap smaller than "
            "a tile, or width and height, which are the tiles' size, larger."
        )
    lefts = _starts(width, tile_width, overlap)
    return TileGrid(width, height, tile_width, tile_height, overlap, lefts, _starts(height, tile_height, overlap))


def _starts(length: int, tile: int, overlap: int) -> tuple[int, ...]:
    """Where tiles begin along a side."""
    room = max(length - tile, 0)
    gaps = math.ceil(room / (tile - overlap))
    return tuple(room * number // gaps for number in range(gaps + 1)) if gaps else (0,)


def split(image: Image.Image, grid: TileGrid) -> list[Image.Image]:
    """The RGB picture's tiles, row by row; what lies beyond it is the picture as in a mirror."""
    across, upright = max(grid.tile_width - grid.width, 0), max(grid.tile_height - grid.height, 0)
    if across or upright:
        image = Image.fromarray(np.pad(np.asarray(image), ((0, upright), (0, across), (0, 0)), mode="symmetric"))
    return [image.crop(region) for region in grid.regions]


def combine(tiles: Sequence[Image.Image], grid: TileGrid) -> Image.Image:
    """The picture of all tiles, row by row; each fades in over its left and upper neighbours, in a straight line."""
    wide, tall = max(grid.width, grid.tile_width), max(grid.height, grid.tile_height)
    canvas = Image.new("RGB", (wide, tall))
    columns = len(grid.lefts)
    upright = _ramp(grid.overlap, wide, 0)
    for number, top in enumerate(grid.tops):
        strip = _strip(tiles[number * columns : (number + 1) * columns], grid, wide)
        _lay(canvas, strip, (0, top), upright if top else None)
    return canvas.crop((0, 0, grid.width, grid.height))


def _strip(row: Sequence[Image.Image], grid: TileGrid, width: int) -> Image.Image:
    """One row of tiles."""
    strip = Image.new("RGB", (width, grid.tile_height))
    across = _ramp(grid.overlap, grid.tile_height, 1)
    for left, tile in zip(grid.lefts, row, strict=True):
        _lay(strip, tile, (left, 0), across if left else None)
    return strip


def _lay(canvas: Image.Image, image: Image.Image, at: tuple[int, int], ramp: Image.Image | None) -> None:
    """Put the picture on the canvas; where there is a ramp, its first pixels fade in."""
    if ramp is None:
        canvas.paste(image, at)
        return
    mask = Image.new("L", image.size, OPAQUE)
    mask.paste(ramp)
    canvas.paste(image, at, mask)


def _ramp(overlap: int, length: int, axis: int) -> Image.Image | None:
    """How much of a tile shows in the pixels that it fades in over: an "L" picture that grows along the axis."""
    if not overlap:
        return None
    steps = (np.arange(overlap) * OPAQUE / overlap).astype(np.uint8)
    return Image.fromarray(np.tile(steps, (length, 1)) if axis else np.tile(steps[:, None], (1, length)))
