"""Pictures side by side."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from PIL import Image

from modules.params import BadRequest


def grid(images: Sequence[Image.Image], rows: int | None = None) -> Image.Image:
    """The pictures in so many rows, as `side_by_side` lays them; see `grid_shape`. Raises BadRequest without any."""
    return side_by_side(images, *grid_shape(len(images), rows))


def grid_shape(count: int, rows: int | None = None) -> tuple[int, int]:
    """The columns and rows of a grid of so many pictures.

    Without a number of rows, the square root of the pictures' number, rounded. Raises BadRequest for no pictures.
    """
    if count < 1:
        raise BadRequest("A grid needs at least one picture.")
    rows = min(rows or round(math.sqrt(count)), count)
    return math.ceil(count / rows), rows


def side_by_side(images: Iterable[Image.Image], columns: int, rows: int) -> Image.Image:
    """One RGB picture with the pictures in rows from the top left, in cells of the first one's size, white where empty.

    Each is let go once it is in its cell: all of them together may be more than there is memory for.
    """
    places = enumerate(images)
    _, first = next(places)
    width, height = first.size
    canvas = Image.new("RGB", (columns * width, rows * height), "white")
    canvas.paste(first, (0, 0))
    for place, image in places:
        canvas.paste(image, (place % columns * width, place // columns * height))
    return canvas
