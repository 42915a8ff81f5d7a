"""How large pictures become, where a request says it in other words than width and height."""

from __future__ import annotations

import math
from typing import NamedTuple

from .errors import BadRequest

LATENT_PIXELS = 8
"""Across and upright, of one latent."""

LARGEST_SIDE = 8192
"""Pixels of any picture."""

OLD_SIDE, OLD_STEP = 512, 64
"""What A1111 took for a side that nobody gave, and rounded sides to, when hires fix had no scale yet."""


class HiresSize(NamedTuple):
    """How large the picture becomes, in pixels, and what of that is kept: whole latents."""

    width: int
    height: int
    kept_width: int
    kept_height: int


def hires_size(width: int, height: int, *, scale: float, resize_x: int = 0, resize_y: int = 0) -> HiresSize:
    """The size of the second pass of a picture (U003).

    With neither side given it is by the scale, with one the other follows; with both, the picture is made to cover
    them and what hangs over is cut off. Raises BadRequest where it is too large.
    """
    x, y = resize_x, resize_y
    if not x and not y:
        wide, tall = int(width * scale), int(height * scale)
    elif not y or (x and width / height < x / y):
        wide, tall = x, x * height // width
    else:
        wide, tall = y * width // height, y
    if max(wide, tall) > LARGEST_SIDE:
        raise BadRequest(f"The hires pass would make {wide}x{tall}, at most {LARGEST_SIDE} is possible. Ask for less.")
    over_x, over_y = (wide - x, tall - y) if x and y else (0, 0)
    return HiresSize(wide, tall, _kept(wide, over_x), _kept(tall, over_y))


def scaled_size(width: int, height: int, scale: float) -> tuple[int, int]:
    """The size of a picture that an upscaler enlarges by a factor: multiples of 8.

    Raises BadRequest where it is too large.
    """
    wide, tall = (max(LATENT_PIXELS, int(side * scale // LATENT_PIXELS * LATENT_PIXELS)) for side in (width, height))
    check_sides(width, height, wide, tall)
    return wide, tall


def check_sides(width: int, height: int, wide: int, tall: int) -> None:
    """Nothing, if a picture of these sides may become so wide and tall. Raises BadRequest."""
    if max(wide, tall) > LARGEST_SIDE:
        raise BadRequest(
            f"The picture of {width}x{height} would become {wide}x{tall}; no side may have more than "
            f"{LARGEST_SIDE} pixels. Ask for a smaller size."
        )


def _kept(side: int, over: int) -> int:
    """What is left of a side without what hangs over, both in whole latents."""
    return (side // LATENT_PIXELS - over // LATENT_PIXELS) * LATENT_PIXELS


def old_first_pass(width: int, height: int) -> tuple[int, int]:
    """The size the first pass had of itself before hires fix had a scale: the pixels of 512x512, in steps of 64."""
    if 0 in (width, height):
        return OLD_SIDE, OLD_SIDE
    scale = math.sqrt(OLD_SIDE**2 / (width * height))
    first, second = (math.ceil(scale * side / OLD_STEP) * OLD_STEP for side in (width, height))
    return first, second
