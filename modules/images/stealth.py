"""Texts hidden in the lowest bits of a picture's pixels, as NovelAI and the extension "stealth pnginfo" write them.

The bits run down the columns: one a pixel in the alpha channel, or three a pixel in red, green and blue. They begin
with a signature of 15 letters, then the number of bits that follow, in 32 bits, then the text, gzipped for "comp".
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from PIL import Image

SIGNATURE_BYTES, LENGTH_BYTES = 15, 4
MAX_TEXT = 8 * 2**20
"""Bytes, before and after unpacking."""

GZIP = 31
"""zlib's `wbits` for a stream with gzip's header."""

SIGNATURES: Mapping[bytes, tuple[str, bool]] = MappingProxyType(
    {
        b"stealth_pnginfo": ("alpha", False),
        b"stealth_pngcomp": ("alpha", True),
        b"stealth_rgbinfo": ("rgb", False),
        b"stealth_rgbcomp": ("rgb", True),
    }
)
"""Where the text is, and whether it is packed."""


def read_stealth(image: Image.Image) -> str:
    """The text hidden in a picture whose pixels are loaded; "" if there is none, or it is damaged."""
    channels = {"RGB": ("rgb",), "RGBA": ("alpha", "rgb")}.get(image.mode, ())
    for place in channels:
        pixels = np.asarray(image)  # (H, W, C)
        planes = pixels[:, :, 3:] if place == "alpha" else pixels[:, :, :3]
        found = SIGNATURES.get(_bytes(planes, 0, SIGNATURE_BYTES), ("", False))
        if found[0] == place:
            return _text(planes, is_packed=found[1])
    return ""


def _text(planes: np.ndarray, *, is_packed: bool) -> str:
    """The text behind a signature."""
    bits = int.from_bytes(_bytes(planes, SIGNATURE_BYTES, LENGTH_BYTES), "big")
    size = bits // 8
    if not 0 < size <= min(MAX_TEXT, planes.size // 8 - SIGNATURE_BYTES - LENGTH_BYTES):
        return ""
    data = _bytes(planes, SIGNATURE_BYTES + LENGTH_BYTES, size)
    if is_packed:
        try:
            data = zlib.decompressobj(GZIP).decompress(data, MAX_TEXT)
        except zlib.error:
            return ""
    return data.decode("utf-8", errors="replace")


def _bytes(planes: np.ndarray, start: int, count: int) -> bytes:
    """Bytes `start` to `start + count` of the lowest bits of (H, W, C) planes; reads no more columns than it must."""
    height, _, channels = planes.shape
    a_column = height * channels
    first, last = start * 8 // a_column, -(-(start + count) * 8 // a_column)
    bits = (planes[:, first:last].transpose(1, 0, 2).reshape(-1)) & 1
    offset = start * 8 - first * a_column
    return np.packbits(bits[offset : offset + count * 8]).tobytes()
