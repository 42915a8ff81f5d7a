"""The part of a picture that is worked on when only what is masked is made anew."""

from __future__ import annotations

from typing import NamedTuple

from PIL import Image


class Region(NamedTuple):
    """Pixels of a picture, the right and lower ends left out: the box that Pillow's `crop` takes."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top


def masked_region(mask: Image.Image, padding: int = 0) -> Region | None:
    """The smallest region with all that the "L" mask marks, and `padding` pixels around it as far as the picture goes.

    None where it marks nothing.
    """
    box = mask.getbbox()
    if box is None:
        return None
    left, top, right, bottom = box
    return Region(
        max(left - padding, 0),
        max(top - padding, 0),
        min(right + padding, mask.width),
        min(bottom + padding, mask.height),
    )


def expand_region(region: Region, width: int, height: int, picture_width: int, picture_height: int) -> Region:
    """The region with its shorter side grown towards the shape of `width` x `height`, inside the picture.

    It grows to both sides alike, and over the other side where one side meets the picture's edge.
    """
    wanted = width / height
    if region.width / region.height > wanted:
        top, bottom = _grown(region.top, region.bottom, int(region.width / wanted), picture_height)
        return region._replace(top=top, bottom=bottom)
    left, right = _grown(region.left, region.right, int(region.height * wanted), picture_width)
    return region._replace(left=left, right=right)


def _grown(start: int, end: int, length: int, limit: int) -> tuple[int, int]:
    """A span of `length` around the middle of start..end, moved into 0..limit and cut there."""
    more = length - (end - start)
    start, end = start - more // 2, end + more - more // 2
    if end > limit:
        start, end = start - (end - limit), limit
    if start < 0:
        start, end = 0, end - start
    return start, min(end, limit)
