"""The infotext inside a picture file: PNG text chunk, or EXIF comment in JPEG, WebP and AVIF."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import NamedTuple

from PIL import Image, PngImagePlugin

from .decode import DAMAGE, BadPicture, flattened, open_picture

KEY = "parameters"
"""The name of the PNG text chunk (I004)."""

_EXIF_IFD = 0x8769
_USER_COMMENT = 0x9286
_LARGEST_SIDE = {"jpeg": 65_535, "webp": 16_383}
_ENCODINGS = {b"UNICODE\0": "utf-16", b"ASCII\0\0\0": "utf-8", b"\0\0\0\0\0\0\0\0": "utf-8"}


class PictureText(NamedTuple):
    """What a picture says of itself: its infotext ("" if it has none), and every other text in it."""

    infotext: str
    items: Mapping[str, str]


def encode(image: Image.Image, infotext: str, *, format: str = "png", quality: int = 80) -> tuple[bytes, str]:
    """The bytes of a picture file that carries the infotext, and the file's ending.

    `format` is png, jpg (jpeg) or webp; a side too long for the format gives png.
    """
    kind = {"jpg": "jpeg"}.get(format.lower(), format.lower())
    if kind not in ("png", *_LARGEST_SIDE):
        raise BadPicture(f'Pictures cannot be saved as "{format}". Choose png, jpg or webp.')
    if max(image.size) > _LARGEST_SIDE.get(kind, max(image.size)):
        kind = "png"
    buffer = io.BytesIO()
    if kind == "png":
        chunks = PngImagePlugin.PngInfo()
        if infotext:
            chunks.add_text(KEY, infotext)
        image.save(buffer, "PNG", pnginfo=chunks)
    else:
        image = flattened(image) if kind == "jpeg" else image
        image.save(buffer, kind.upper(), quality=quality, exif=_exif(infotext))
    return buffer.getvalue(), {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}[kind]


def read_metadata(data: bytes) -> PictureText:
    """The texts in a picture file; raises BadPicture if it is none."""
    image = open_picture(data)
    if image.format == "PNG" and KEY not in image.info:
        _load(image)
    items = {
        key: _plain(value) for key, value in image.info.items() if isinstance(value, (str, bytes)) and key != "exif"
    }
    items = {key: value for key, value in items.items() if value and key not in ("icc_profile", "photoshop", "xmp")}
    infotext = items.pop(KEY, "") or _user_comment(image) or (items.get("comment", "") if image.format == "GIF" else "")
    return PictureText(infotext, items)


def _exif(infotext: str) -> bytes:
    """An EXIF block with the text as its user comment, as the EXIF standard spells Unicode."""
    exif = Image.Exif()
    if infotext:
        exif.get_ifd(_EXIF_IFD)[_USER_COMMENT] = b"UNICODE\0" + infotext.encode("utf-16-be")
    return exif.tobytes()


def _user_comment(image: Image.Image) -> str:
    """The text of the EXIF user comment, "" where there is none that can be read."""
    try:
        comment = image.getexif().get_ifd(_EXIF_IFD).get(_USER_COMMENT, b"")
    except DAMAGE:
        return ""
    if isinstance(comment, str):
        return comment
    if not isinstance(comment, bytes):
        return ""
    encoding = _ENCODINGS.get(comment[:8])
    if encoding is None:
        return comment.decode("utf-8", errors="replace").strip("\0")
    text = comment[8:]
    if encoding == "utf-16":
        encoding = _byte_order(text)
    return text.decode(encoding, errors="replace").strip("\0")


def _byte_order(text: bytes) -> str:
    """The byte order of a UTF-16 text: big-endian, unless the zeros of its ASCII letters are at the odd places.

    The standard leaves the order to the file's own, which re-saving may change without changing the comment.
    """
    if text[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    return "utf-16-le" if text[1::2].count(0) > text[0::2].count(0) else "utf-16-be"


def _plain(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", errors="replace")


def _load(image: Image.Image) -> None:
    """Read on to the end of the file, where text chunks may be as well."""
    try:
        image.load()
    except DAMAGE as error:
        raise BadPicture("The picture is damaged. Choose another, or save it again.") from error
