"""Masks: which pixels of a picture are made anew. "L" pictures, white where that is so."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageChops, ImageFilter, ImageOps

from .decode import DAMAGE, DAMAGED, BadPicture, flattened, whole_picture
from .regions import Region
from .resize import ResizeMode, resize_image

OPAQUE = 255
THRESHOLD = 128
"""An alpha value above this counts as masked."""

_FILL_BLURS = ((256, 1), (64, 1), (16, 2), (4, 4), (2, 2), (0, 1))
"""(radius of the blur in pixels, how often it is laid on): from a wash over everything to the edge itself."""

_WEIGHTS = 256  # the unit in which OpenCV counts a blur's weights of 8-bit pictures
_BAND = 2**16  # pixels that are worked on at a time, so that they stay in the processor's cache


def decode_mask(data: bytes, *, is_round: bool = True) -> Image.Image:
    """The mask in a picture file: its alpha channel where that is not opaque throughout, else its brightness (U023).

    Upright; of an animation the first picture. Alpha counts as masked or not; with `is_round` off, by degrees.
    Raises BadPicture.
    """
    image = whole_picture(data)
    try:
        upright = ImageOps.exif_transpose(image)
        alpha = upright.convert("RGBA").getchannel("A") if upright.has_transparency_data else None
        if alpha is None or alpha.getextrema() == (OPAQUE, OPAQUE):
            return _brightness(upright)
    except DAMAGE as error:
        raise BadPicture(DAMAGED) from error
    return alpha.point(lambda value: OPAQUE * (value > THRESHOLD)) if is_round else alpha


def _brightness(image: Image.Image) -> Image.Image:
    return flattened(image).convert("L")


def blur_mask(mask: Image.Image, across: int, upright: int) -> Image.Image:
    """The mask with soft edges: a Gaussian of that many pixels in each direction, as OpenCV computes it; 0 is none."""
    values = np.asarray(mask)
    if across > 0:
        values = _blurred(values, across, axis=1)
    if upright > 0:
        values = _blurred(values, upright, axis=0)
    return Image.fromarray(values)


def _blurred(values: np.ndarray, sigma: int, axis: int) -> np.ndarray:
    """(H, W) uint8, blurred along an axis; beyond its ends the picture goes on as in a mirror.

    Sums of at most 255 * 256 + 128 just fit into 16 bits.
    """
    weights = _gaussian(sigma)
    reach = len(weights) // 2
    margins = [(0, 0), (0, 0)]
    margins[axis] = (reach, reach)
    wide = np.pad(values, margins, mode="reflect" if values.shape[axis] > 1 else "edge").astype(np.uint16)
    height, width = values.shape
    result = np.empty_like(values)
    rows = max(_BAND // width, 1)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        total = np.full((bottom - top, width), _WEIGHTS // 2, dtype=np.uint16)
        product = np.empty_like(total)
        for place in np.flatnonzero(weights):
            part = wide[top + place : bottom + place] if axis == 0 else wide[top:bottom, place : place + width]
            np.multiply(part, np.uint16(weights[place]), out=product)
            total += product
        result[top:bottom] = total >> 8
    return result


def _gaussian(sigma: int) -> np.ndarray:
    """(2n + 1,) whole weights of sum 256, n = 2.5 sigma.

    As OpenCV rounds them: each takes over what rounding has left of those before it, and the middle one the rest.
    """
    reach = int(2.5 * sigma + 0.5)
    exact = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    exact *= _WEIGHTS / exact.sum()
    weights = np.zeros(2 * reach + 1, dtype=np.int64)
    rest = 0.0
    for place in range(reach):
        wanted = exact[place] + rest
        weights[place] = weights[-1 - place] = round(wanted)
        rest = wanted - weights[place]
    weights[reach] = _WEIGHTS - weights.sum()
    return weights


def fill_masked(image: Image.Image, mask: Image.Image) -> Image.Image:
    """The picture with what is masked painted over in the colours around it, ever sharper towards the edges."""
    around = cut_out(image, mask)
    filled = Image.new("RGBA", image.size)
    for radius, times in _FILL_BLURS:
        layer = around.filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")
        for _ in range(times):
            filled.alpha_composite(layer)
    return filled.convert("RGB")


def cut_out(image: Image.Image, mask: Image.Image) -> Image.Image:
    """The picture with its alpha multiplied in ("RGBa"): transparent where the mask is white."""
    kept = Image.new("RGBa", image.size)
    kept.paste(image.convert("RGBA").convert("RGBa"), mask=ImageOps.invert(mask))
    return kept


def spread_mask(mask: Image.Image) -> Image.Image:
    """The mask at twice its strength: all that is made anew by half or more is covered by nothing."""
    return ImageChops.add(mask, mask)


def place_in(image: Image.Image, size: tuple[int, int], region: Region) -> Image.Image:
    """The picture fitted into a region of a transparent canvas of `size`."""
    canvas = Image.new("RGBA", size)
    canvas.paste(resize_image(image, region.width, region.height, ResizeMode.CROP), region[:2])
    return canvas


def lay_over(image: Image.Image, overlay: Image.Image) -> Image.Image:
    """The RGB picture under an "RGBA" one of the same size."""
    return Image.alpha_composite(image.convert("RGBA"), overlay).convert("RGB")


def mask_composite(image: Image.Image, mask: Image.Image) -> Image.Image:
    """The part of the picture that the mask shows, "RGBA"."""
    fitted = resize_image(mask, image.width, image.height, ResizeMode.FILL)
    return Image.composite(image.convert("RGBA").convert("RGBa"), Image.new("RGBa", image.size), fitted).convert("RGBA")
