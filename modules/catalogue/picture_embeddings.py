"""Embeddings that travel as pictures: in a PNG's text, or in the low bits of the pixels (D031)."""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from modules.params import BadFile

IMAGE_SUFFIXES = frozenset({".png", ".webp", ".jxl", ".avif"})
TEXT_KEY = "sd-ti-embedding"
TENSOR_KEY = "TORCHTENSOR"
MAX_JSON_BYTES = 16 * 2**20
"""75 vectors of 2048 numbers, written out, are a fifth of it."""
MAX_PIXELS = 64_000_000
LOW_BITS = 0x0F

_UNREADABLE = (UnidentifiedImageError, OSError, SyntaxError, RuntimeError, Image.DecompressionBombError)


class NoEmbedding(BadFile):
    """A picture without an embedding in it, as previews are."""


def read_picture_embedding(path: Path) -> dict[str, Any]:
    """The embedding in a picture as its JSON says it: a `.pt` embedding's dict, each tensor as `{TENSOR_KEY: [[...]]}`.

    Raises NoEmbedding.
    """
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise NoEmbedding(path, f"has {image.width} x {image.height} pixels, too many for an embedding.")
            text = image.info.get(TEXT_KEY)
            document = _of_text(text) if isinstance(text, str) else _of_pixels(np.asarray(image.convert("RGB")))
        content = json.loads(document)
    except _UNREADABLE as error:
        raise NoEmbedding(path, f"is no picture that can be read ({error}). Download it again.") from error
    except (ValueError, binascii.Error, zlib.error) as error:
        raise NoEmbedding(path, "is a picture without an embedding in it. Move it out of the folder.") from error
    if not isinstance(content, dict):
        raise NoEmbedding(path, "is a picture without an embedding in it. Move it out of the folder.")
    return content


def tensor_shape(value: Any) -> tuple[int, ...] | None:
    """The shape of a tensor in the JSON of an embedding; None where the value is none, or its rows are uneven."""
    rows = value.get(TENSOR_KEY) if isinstance(value, dict) else None
    if not isinstance(rows, list) or not rows:
        return None
    if not isinstance(rows[0], list):
        return (len(rows),)
    return (
        (len(rows), len(rows[0])) if all(isinstance(row, list) and len(row) == len(rows[0]) for row in rows) else None
    )


def _of_text(text: str) -> bytes:
    if len(text) > MAX_JSON_BYTES:
        raise ValueError("too long")
    return base64.b64decode(text, validate=True)


def _of_pixels(pixels: np.ndarray) -> bytes:
    """The document in the low four bits of (H, W, 3) pixels.

    Two blocks, a column of zeros on both sides of the picture proper between them: the left holds the low halves of
    the bytes, the right the high halves, each mixed with a fixed row of numbers. What is left is zlib.
    """
    bits = _without_border(pixels) & LOW_BITS
    empty = np.flatnonzero(bits.sum(axis=(0, 2)) == 0)
    if len(empty) < 2:
        raise ValueError("no data blocks")
    low, high = (_unmixed(block) for block in (bits[:, : empty[0]], bits[:, empty[-1] + 1 :]))
    if low.shape != high.shape:
        raise ValueError("data blocks of different sizes")
    packed = ((high << 4) | low).tobytes()
    reader = zlib.decompressobj()
    document = reader.decompress(packed, MAX_JSON_BYTES)
    if reader.unconsumed_tail:
        raise ValueError("too long")
    return document


def _without_border(pixels: np.ndarray) -> np.ndarray:
    """The picture without its black border; the mask counts a pixel only if all three channels are above 0."""
    lit = (pixels > 0).all(axis=2)
    rows, columns = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
    if not len(rows):
        raise ValueError("a black picture")
    return pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _unmixed(block: np.ndarray) -> np.ndarray:
    mask = (_random_numbers(block.size) % 255).astype(np.uint8)
    return block ^ (mask.reshape(block.shape) & LOW_BITS)


def _random_numbers(count: int) -> np.ndarray:
    """The first numbers of the generator x -> 1664525 x + 1013904223 modulo 2³² (Numerical Recipes), from 0.

    Each round doubles the row: steps as long as the row are again of the form x -> factor x + addend.
    """
    factor, addend = 1664525, 1013904223
    row = np.array([addend], dtype=np.uint32)
    while len(row) < count:
        row = np.concatenate([row, row * np.uint32(factor) + np.uint32(addend)])
        factor, addend = factor * factor % 2**32, (factor + 1) * addend % 2**32
    return row[:count]
