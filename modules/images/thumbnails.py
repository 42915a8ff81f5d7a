"""Small copies of pictures, for cards and lists."""

from __future__ import annotations

import io

from PIL import ImageOps

from .decode import DAMAGE, BadPicture, open_picture


def thumbnail(data: bytes, width: int, height: int, *, quality: int = 80) -> bytes:
    """A WebP file of the picture, upright, just large enough to cover width x height; never larger than it is.

    Raises BadPicture.
    """
    image = open_picture(data)
    image.draft("RGB", (width * 2, height * 2))
    try:
        upright = ImageOps.exif_transpose(image)
        shown = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
    except DAMAGE as error:
        raise BadPicture("The preview picture is damaged.") from error
    scale = max(width / shown.width, height / shown.height)
    if scale < 1:
        shown = shown.resize(
            (max(1, round(shown.width * scale)), max(1, round(shown.height * scale))), reducing_gap=2.0
        )
    buffer = io.BytesIO()
    shown.save(buffer, "WEBP", quality=quality, method=3)
    return buffer.getvalue()
