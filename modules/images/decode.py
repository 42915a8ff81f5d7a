"""Pictures from outside, taken in without trust: recognised by content, bounded in size, turned upright."""

from __future__ import annotations

import base64
import binascii
import io
import re
import struct

from PIL import Image, ImageColor, ImageOps

from modules.params import TagbrushError

MAX_BYTES = 64 * 2**20
MAX_PIXELS = 2**26
"""64 megapixels, for instance 8192 x 8192: twice the side of the largest camera picture anyone would start from."""

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF")

_DATA_URI = re.compile(r"data:[^,]{0,200}?,", re.IGNORECASE)
DAMAGE = (
    *(OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError, RuntimeError),
    struct.error,
)
"""What Pillow raises over damaged files, according to format and damage."""

DAMAGED = "The picture is damaged or cut off. Choose another, or save it again."


class BadPicture(TagbrushError):
    """A picture that cannot be read, or is too large to be."""


def decode_base64(text: str) -> bytes:
    """The bytes of a data URI or of plain base64 text; raises BadPicture."""
    if text.startswith(("http://", "https://")):
        raise BadPicture("Pictures are not fetched from the network. Send the picture itself, as base64.")
    prefix = _DATA_URI.match(text)
    encoded = text[prefix.end() :] if prefix else text
    if len(encoded) > MAX_BYTES * 4 // 3 + 4:
        raise BadPicture(f"The picture is larger than {MAX_BYTES // 2**20} MB. Save it smaller.")
    try:
        return base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadPicture("The picture is not base64 text. Send the file's bytes in base64.") from error


def open_picture(data: bytes) -> Image.Image:
    """The picture, its size known and bounded but its pixels not yet read; raises BadPicture."""
    if len(data) > MAX_BYTES:
        raise BadPicture(f"The picture is larger than {MAX_BYTES // 2**20} MB. Save it smaller.")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadPicture(f"The picture has more than {MAX_PIXELS // 10**6} megapixels. Save it smaller.") from error
    except DAMAGE as error:
        raise BadPicture(f"This is no picture of a known kind ({', '.join(FORMATS)}), or it is damaged.") from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise BadPicture(
            f"The picture has {width} x {height} pixels; more than {MAX_PIXELS // 10**6} million are too many."
        )
    return image


def whole_picture(data: bytes) -> Image.Image:
    """The picture with all its pixels; raises BadPicture, also where a download broke off."""
    image = open_picture(data)
    try:
        image.load()
    except DAMAGE as error:
        raise BadPicture(DAMAGED) from error
    return image


def decode_picture(source: bytes | str, background: str = "white") -> Image.Image:
    """The RGB picture of a file's bytes, a data URI or base64 text: upright, on `background` where it is transparent.

    Of an animation the first picture. Raises BadPicture.
    """
    image = whole_picture(decode_base64(source) if isinstance(source, str) else source)
    try:
        upright = ImageOps.exif_transpose(image)
    except DAMAGE as error:
        raise BadPicture(DAMAGED) from error
    return flattened(upright, background)


def flattened(image: Image.Image, background: str = "white") -> Image.Image:
    """The picture in RGB, laid on a colour where it is transparent. Raises BadPicture where that is no colour."""
    if image.mode.startswith("I"):
        image = image.point(lambda value: value / 256).convert("L")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        ground = Image.new("RGBA", layer.size, _colour(background))
        return Image.alpha_composite(ground, layer).convert("RGB")
    return image.convert("RGB")


def _colour(name: str) -> tuple[int, ...]:
    try:
        return ImageColor.getrgb(name)
    except ValueError as error:
        raise BadPicture(f'The background "{name}" is no colour. Give one like "#ffffff" under Settings.') from error
