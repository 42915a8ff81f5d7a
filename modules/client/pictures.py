"""Pictures as programs have them, and as files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Union

from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from .answers import Job, Picture
from .errors import ClientError

PictureSource = Union[bytes, str, Path, Image.Image]  # noqa: UP007
"""A picture: its file's bytes, its path, or an image."""

_OF_PNG = ("1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA")
"""Modes that a PNG has, too."""


def file_of(picture: PictureSource) -> bytes:
    """The bytes of a picture's file. Raises ClientError for a path that cannot be read."""
    if isinstance(picture, bytes):
        return picture
    if isinstance(picture, Image.Image):
        return _png(picture)
    try:
        return Path(picture).read_bytes()
    except OSError as error:
        raise ClientError(
            f"{picture} cannot be read: {error.strerror or error}. Give the path of a picture."
        ) from error


def _png(image: Image.Image) -> bytes:
    """The image as a PNG, the way up that its camera noted, with the text of how it was made."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode not in _OF_PNG:
        upright = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
    texts = PngInfo()
    if isinstance(made := image.info.get("parameters"), str):
        texts.add_itxt("parameters", made)
    buffer = io.BytesIO()
    upright.save(buffer, "PNG", pnginfo=texts)
    return buffer.getvalue()


def image_of(data: bytes) -> Image.Image:
    """The picture of a file's bytes, read whole; its texts are in `info`."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def picture_list(job: Job) -> Sequence[Picture]:
    """The pictures that were asked for, without grids and masks."""
    return [picture for picture in job.pictures if picture.kind == "picture"]
