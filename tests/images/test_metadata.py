"""The infotext inside picture files."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from modules.images import BadPicture, encode, read_metadata

TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1)
SMALL = Image.new("RGB", (8, 8), "teal")


@settings(deadline=None)
@given(TEXTS, st.sampled_from(["png", "jpg", "jpeg", "webp"]))
def test_what_is_written_is_read_back_in_every_format(text: str, format: str) -> None:
    data, _ = encode(SMALL, text, format=format)
    assert read_metadata(data).infotext == text


@pytest.mark.parametrize("format", ["png", "jpg", "webp"])
def test_a_picture_without_infotext_has_none(format: str) -> None:
    data, _ = encode(SMALL, "", format=format)
    assert read_metadata(data).infotext == ""


def test_a_comment_in_the_other_byte_order_is_read() -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + "cat, Steps: 4".encode("utf-16-le")
    buffer = io.BytesIO()
    SMALL.save(buffer, "JPEG", exif=exif)
    assert read_metadata(buffer.getvalue()).infotext == "cat, Steps: 4"


def test_a_plain_ascii_comment_is_read() -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0a cat"
    buffer = io.BytesIO()
    SMALL.save(buffer, "WEBP", exif=exif)
    assert read_metadata(buffer.getvalue()).infotext == "a cat"


def test_a_gif_comment_is_an_infotext() -> None:
    buffer = io.BytesIO()
    SMALL.save(buffer, "GIF", comment=b"a cat")
    assert read_metadata(buffer.getvalue()).infotext == "a cat"


def test_other_texts_are_kept_beside_the_infotext() -> None:
    buffer = io.BytesIO()
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("parameters", "a cat")
    chunks.add_text("Software", "NovelAI")
    SMALL.save(buffer, "PNG", pnginfo=chunks)
    found = read_metadata(buffer.getvalue())
    assert (found.infotext, found.items["Software"]) == ("a cat", "NovelAI")


def test_a_png_whose_text_comes_last_is_read() -> None:
    data, _ = encode(SMALL, "a cat")
    start = data.index(b"tEXt") - 4
    length = int.from_bytes(data[start : start + 4], "big") + 12
    chunk, end = data[start : start + length], data.index(b"IEND") - 4
    moved = data[:start] + data[start + length : end] + chunk + data[end:]
    assert read_metadata(moved).infotext == "a cat"


def test_a_picture_too_long_for_its_format_becomes_png() -> None:
    _, suffix = encode(Image.new("L", (16_384, 1)), "x", format="webp")
    assert suffix == ".png"


def test_an_unknown_format_is_named() -> None:
    with pytest.raises(BadPicture, match="tga"):
        encode(SMALL, "", format="tga")


def test_a_transparent_picture_is_saved_as_jpeg_on_white() -> None:
    data, _ = encode(Image.new("RGBA", (8, 8), (0, 0, 0, 0)), "", format="jpg")
    assert min(Image.open(io.BytesIO(data)).getpixel((4, 4))) > 250


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe1\x00\x20Exif\0\0"]))
def test_rubbish_is_a_bad_picture_and_no_other_error(rest: bytes, start: bytes) -> None:
    with pytest.raises(BadPicture):
        read_metadata(start + rest)
