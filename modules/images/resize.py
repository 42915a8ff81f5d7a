"""Fitting a picture to a size, in the three ways of img2img."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

from PIL import Image

from modules.params import BadRequest

from .decode import MAX_PIXELS

Upscaler = Callable[[Image.Image, float], Image.Image]
"""Enlarges a picture by about a factor, as far as it can in one go."""

_PASSES = 3
"""An upscaler with a fixed factor is applied this many times at most."""


class ResizeMode(IntEnum):
    """How a picture of another shape is fitted."""

    STRETCH = 0
    CROP = 1
    FILL = 2


def lanczos(image: Image.Image, scale: float) -> Image.Image:
    """The picture enlarged by Lanczos' filter."""
    return image.resize(_scaled_size(image, scale), Image.Resampling.LANCZOS)


def nearest(image: Image.Image, scale: float) -> Image.Image:
    """The picture enlarged, each pixel a copy of one of its own."""
    return image.resize(_scaled_size(image, scale), Image.Resampling.NEAREST)


def _scaled_size(image: Image.Image, scale: float) -> tuple[int, int]:
    return max(int(image.width * scale), 1), max(int(image.height * scale), 1)


def resize_image(
    image: Image.Image,
    width: int,
    height: int,
    mode: int = ResizeMode.STRETCH,
    upscaler: Upscaler | None = None,
) -> Image.Image:
    """The picture in exactly this size.

    STRETCH ignores its shape; CROP covers the size and cuts off what hangs over; FILL fits inside and stretches the
    outermost rows or columns into the empty rest. A picture to be enlarged goes through the upscaler first.
    """
    if mode == ResizeMode.STRETCH:
        return _scaled(image, width, height, upscaler)
    if mode == ResizeMode.CROP:
        return _cropped(image, width, height, upscaler)
    if mode == ResizeMode.FILL:
        return _filled(image, width, height, upscaler)
    raise BadRequest(f"Resize mode {mode} is unknown. Choose 0 (stretch), 1 (crop) or 2 (fill).")


def _scaled(image: Image.Image, width: int, height: int, upscaler: Upscaler | None) -> Image.Image:
    """The picture in the size, whatever its shape."""
    scale = max(width / image.width, height / image.height)
    is_affordable = image.width * image.height * scale**2 <= MAX_PIXELS
    if upscaler is not None and scale > 1 and image.mode != "L" and is_affordable:
        image = enlarge(image, scale, upscaler)
    return _to_size(image, width, height)


def enlarge(image: Image.Image, scale: float, upscaler: Upscaler) -> Image.Image:
    """The picture about `scale` times as large, both sides multiples of 8."""
    width, height = max(8, int(image.width * scale // 8 * 8)), max(8, int(image.height * scale // 8 * 8))
    for _ in range(_PASSES):
        if image.width >= width and image.height >= height:
            break
        size = image.size
        image = upscaler(image, scale)
        if image.size == size:
            break
    return _to_size(image, width, height)


def _to_size(image: Image.Image, width: int, height: int) -> Image.Image:
    return image if image.size == (width, height) else image.resize((width, height), Image.Resampling.LANCZOS)


def _cropped(image: Image.Image, width: int, height: int, upscaler: Upscaler | None) -> Image.Image:
    is_wider = width / height > image.width / image.height
    covering_width = width if is_wider else image.width * height // image.height
    covering_height = image.height * width // image.width if is_wider else height
    if covering_width * covering_height > MAX_PIXELS:  # a very long picture: cut it before it is enlarged, not after
        return _scaled(_middle(image, width / height), width, height, upscaler)
    return _centred(_scaled(image, covering_width, covering_height, upscaler), width, height)


def _middle(image: Image.Image, ratio: float) -> Image.Image:
    """The middle of the picture, of the given ratio of width to height as nearly as whole pixels allow."""
    width = min(image.width, max(1, round(image.height * ratio)))
    height = min(image.height, max(1, round(image.width / ratio)))
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _filled(image: Image.Image, width: int, height: int, upscaler: Upscaler | None) -> Image.Image:
    is_taller = width / height < image.width / image.height
    inner_width = width if is_taller else max(1, image.width * height // image.height)
    inner_height = max(1, image.height * width // image.width) if is_taller else height
    inner = _scaled(image, inner_width, inner_height, upscaler)
    result = _centred(inner, width, height)
    if is_taller:
        margin = height // 2 - inner_height // 2
        if margin > 0:
            top, bottom = (0, 0, inner_width, 0), (0, inner_height, inner_width, inner_height)
            result.paste(inner.resize((width, margin), box=top), (0, 0))
            result.paste(inner.resize((width, margin), box=bottom), (0, margin + inner_height))
        return result
    margin = width // 2 - inner_width // 2
    if margin > 0:
        left, right = (0, 0, 0, inner_height), (inner_width, 0, inner_width, inner_height)
        result.paste(inner.resize((margin, height), box=left), (0, 0))
        result.paste(inner.resize((margin, height), box=right), (margin + inner_width, 0))
    return result


def _centred(image: Image.Image, width: int, height: int) -> Image.Image:
    """The picture in the middle of a canvas of the size."""
    canvas = Image.new(image.mode, (width, height))
    canvas.paste(image, (width // 2 - image.width // 2, height // 2 - image.height // 2))
    return canvas
