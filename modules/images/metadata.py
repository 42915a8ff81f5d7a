"""The texts inside a picture file: A1111's in a PNG text chunk or an EXIF comment, and those of other programs."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from PIL import Image, PngImagePlugin, features

from modules.params import format_infotext
from modules.params.foreign import read_foreign

from .decode import DAMAGE, DAMAGED, BadPicture, flattened, open_picture
from .stealth import read_stealth

KEY = "parameters"
"""The name of the PNG text chunk (I004)."""

FORMATS: Mapping[str, str] = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "avif": ".avif"}
"""Formats that pictures are saved in, and the endings of their files."""

_EXIF_IFD = 0x8769
_USER_COMMENT = 0x9286
_EXIF_TEXTS = {0x010E: "ImageDescription", 0x010F: "Make", 0x0110: "Model", 0x0131: "Software"}
_LARGEST_SIDE = {"jpeg": 65_500, "webp": 16_383, "avif": 65_535}
"""Pixels; libjpeg ends a little before JPEG's own 65,535."""
_ENCODINGS = {b"UNICODE\0": "utf-16", b"ASCII\0\0\0": "utf-8", b"\0\0\0\0\0\0\0\0": "utf-8"}
_NO_TEXT = ("icc_profile", "photoshop", "xmp", "exif", "XML:com.adobe.xmp")
AMBIGUOUS = 2
"""A few letters of rare scripts read as ASCII in the other byte order; no text of A1111's is as short."""

_COMFYUI_EXIF = re.compile(r"\s*(prompt|workflow):\s*(?=\{)", re.IGNORECASE)


class PictureText(NamedTuple):
    """What a picture says of itself: its infotext ("" if it has none), every other text in it, and who wrote them.

    The infotext is in A1111's words whichever program wrote it; `program` is "" for A1111 and its kin.
    """

    infotext: str
    items: Mapping[str, str]
    program: str = ""


def encode(
    image: Image.Image,
    infotext: str,
    *,
    format: str = "png",
    quality: int = 80,
    others: Mapping[str, str] = MappingProxyType({}),
) -> tuple[bytes, str]:
    """The bytes of a picture file that carries the infotext, and the file's ending.

    `format` is png, jpg (jpeg), webp or avif; a side too long for the format, or a format that this system's Pillow
    cannot write, gives png. `others` are more texts by name, for which only a PNG has room.
    """
    kind = {"jpg": "jpeg"}.get(format.lower(), format.lower())
    if kind not in FORMATS:
        raise BadPicture(f'Pictures cannot be saved as "{format}". Choose png, jpg, webp or avif.')
    is_too_long = max(image.size) > _LARGEST_SIDE.get(kind, max(image.size))
    if is_too_long or (kind == "avif" and not features.check("avif")):
        kind = "png"
    buffer = io.BytesIO()
    if kind == "png":
        chunks = PngImagePlugin.PngInfo()
        if infotext:
            chunks.add_text(KEY, infotext)
        for name, text in others.items():
            chunks.add_text(name, text)
        image.save(buffer, "PNG", pnginfo=chunks)
    else:
        image = flattened(image) if kind == "jpeg" else image
        image.save(buffer, kind.upper(), quality=quality, exif=_exif(infotext))
    return buffer.getvalue(), FORMATS[kind]


def read_metadata(data: bytes) -> PictureText:
    """The texts in a picture file; raises BadPicture if it is none."""
    return picture_text(open_picture(data))


def picture_text(image: Image.Image) -> PictureText:
    """The texts in a picture as it was opened. Raises BadPicture where its file is damaged.

    Hidden texts in the pixels are looked for where there are no others.
    """
    if image.format == "PNG" and KEY not in image.info:
        _load(image)
    items = _items(image)
    if not items and image.format in ("PNG", "WEBP"):
        _load(image)
        items = _hidden_items(read_stealth(image))
    found = read_foreign(items, image.size)
    if found is not None:
        program, info = found
        return PictureText(format_infotext(info), items, program)
    infotext = items.pop(KEY, "") or (items.get("comment", "") if image.format == "GIF" else "")
    return PictureText(infotext, items)


def _items(image: Image.Image) -> dict[str, str]:
    """Every text in the file by its name; that of an EXIF comment is `parameters`, as in a PNG."""
    texts = {key: _plain(value) for key, value in image.info.items() if isinstance(value, str | bytes)}
    items = {key: value for key, value in texts.items() if value and isinstance(key, str) and key not in _NO_TEXT}
    if KEY not in items and (comment := _user_comment(image)):
        items[KEY] = comment
    return _exif_texts(image) | items


def _hidden_items(text: str) -> dict[str, str]:
    """The texts in a hidden one: an infotext, or NovelAI's texts by name as JSON."""
    if not text.startswith("{"):
        return {KEY: text} if text else {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {KEY: text}
    named = {str(key): value if isinstance(value, str) else json.dumps(value) for key, value in found.items()}
    return named if "Software" in named or KEY in named else {KEY: text}


def _exif(infotext: str) -> bytes:
    """An EXIF block with the text as its user comment, as the EXIF standard spells Unicode."""
    exif = Image.Exif()
    if infotext:
        exif.get_ifd(_EXIF_IFD)[_USER_COMMENT] = b"UNICODE\0" + infotext.encode("utf-16-be")
    return exif.tobytes()


def _exif_texts(image: Image.Image) -> dict[str, str]:
    """The texts of the EXIF block itself; ComfyUI's graphs, which it keeps there in a WebP, under their own names."""
    try:
        block = image.getexif()
        texts = {name: block.get(tag) for tag, name in _EXIF_TEXTS.items()}
    except DAMAGE:
        return {}
    items: dict[str, str] = {}
    for name, text in texts.items():
        if not isinstance(text, str) or not text.strip("\0 "):
            continue
        graph = _COMFYUI_EXIF.match(text)
        items[graph[1].lower() if graph else name] = (text[graph.end() :] if graph else text).strip("\0")
    return items


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
    """The byte order of a UTF-16 text: big-endian, unless read so it has less ASCII than the other way round.

    The standard leaves the order to the file's own, which re-saving may change without changing the comment.
    """
    if text[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    big, little = (text.decode(order, errors="replace") for order in ("utf-16-be", "utf-16-le"))
    return "utf-16-le" if _ascii_letters(little) > _ascii_letters(big) + AMBIGUOUS else "utf-16-be"


def _ascii_letters(text: str) -> int:
    return sum(" " <= letter <= "~" for letter in text)


def _plain(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", errors="replace")


def _load(image: Image.Image) -> None:
    """Read on to the end of the file, where text chunks may be as well."""
    try:
        image.load()
    except DAMAGE as error:
        raise BadPicture(DAMAGED) from error
