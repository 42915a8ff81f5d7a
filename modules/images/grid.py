"""Pictures side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image

from modules.params import BadRequest


def grid(images: Sequence[Image.Image], rows: int | None = None) -> Image.Image:
    """One RGB picture with the pictures in rows from the top left, in cells of the first one's size, white where empty.

    Without a number of rows, the square root of the pictures' number, rounded.
    """
    if not images:
        raise BadRequest("A grid needs at least one picture.")
    rows = min(rows or round(math.sqrt(len(images))), len(images))
    columns = math.ceil(len(images) / rows)
    width, height = images[0].size
    canvas = Image.new("RGB", (columns * width, rows * height), "white")
    for place, image in enumerate(images):
        canvas.paste(image, (place % columns * width, place // columns * height))
    return canvas
