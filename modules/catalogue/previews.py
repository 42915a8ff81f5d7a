"""The picture on a card: a file beside the entry, or one inside it."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from modules.params import BadFile

from .entries import Entry
from .headers import read_header

MAX_PREVIEW_BYTES = 32 * 2**20

_TYPES: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
)


class Preview(NamedTuple):
    """A picture as it is stored, and its media type as its first bytes tell it."""

    data: bytes
    media_type: str


def read_preview(entry: Entry) -> Preview | None:
    """The entry's picture: the file beside it, else the cover inside it; None if there is no picture in either."""
    if entry.preview is not None:
        found = _picture(_file(entry.preview))
        if found is not None:
            return found
    if not entry.facts.has_cover:
        return None
    try:
        return _cover(read_header(entry.path).metadata)
    except BadFile:
        return None


def _file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_PREVIEW_BYTES)
    except OSError:
        return b""


def _cover(metadata: Mapping[str, str]) -> Preview | None:
    """The first cover picture in a .safetensors file's metadata."""
    for text in (*_cover_images(metadata.get("ssmd_cover_images", "")), metadata.get("modelspec.thumbnail", "")):
        encoded = text.partition(",")[2] if text.startswith("data:") else text
        try:
            found = _picture(base64.b64decode(encoded[: 2 * MAX_PREVIEW_BYTES]))
        except (binascii.Error, ValueError):
            continue
        if found is not None:
            return found
    return None


def _cover_images(text: str) -> list[str]:
    """The base64 texts of the JSON list that kohya's metadata editor writes."""
    try:
        images = json.loads(text) if text else []
    except (ValueError, RecursionError):
        return []
    return [image for image in images if isinstance(image, str)] if isinstance(images, list) else []


def _picture(data: bytes) -> Preview | None:
    """The data as a preview if it is a picture a browser shows; never anything that could hold a script."""
    for start, media_type in _TYPES:
        if data.startswith(start):
            return Preview(data, media_type)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return Preview(data, "image/webp")
    if data[4:12] in (b"ftypavif", b"ftypavis"):
        return Preview(data, "image/avif")
    return None
