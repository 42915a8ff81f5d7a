"""Taking pictures in from outside."""

from __future__ import annotations

import base64
import contextlib
import io
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from modules.images import BadPicture, decode_base64, decode_picture, encode, thumbnail

PNG, _ = encode(Image.new("RGB", (9, 5), "teal"), "")


def file_of(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes that claims to be of this size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,", "data:,", "DATA:image/jpeg;base64,"])
def test_base64_is_read_with_any_data_uri_before_it(prefix: str) -> None:
    assert decode_picture(prefix + base64.b64encode(PNG).decode()).size == (9, 5)


def test_line_breaks_in_base64_do_no_harm() -> None:
    assert decode_base64(base64.encodebytes(PNG).decode()) == PNG


@given(st.binary())
def test_any_bytes_come_back_from_their_base64(data: bytes) -> None:
    assert decode_base64(base64.b64encode(data).decode()) == data


def test_an_address_is_not_fetched() -> None:
    with pytest.raises(BadPicture, match="not fetched"):
        decode_base64("http://169.254.169.254/latest")


def test_text_that_is_no_base64_is_refused() -> None:
    with pytest.raises(BadPicture, match="base64"):
        decode_base64("not!base64")


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_the_content_tells_the_format(format: str) -> None:
    picture = decode_picture(file_of(Image.new("RGB", (16, 8), (200, 30, 40)), format))
    red, green, _ = picture.getpixel((8, 4))
    assert (picture.mode, picture.size) == ("RGB", (16, 8))
    assert red > 180 and green < 60


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_what_is_transparent_becomes_white(mode: str) -> None:
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    image = clear.convert("LA") if mode != "RGBA" else clear
    assert decode_picture(file_of(image, "PNG")).getpixel((1, 1)) == (255, 255, 255)


def test_a_palette_with_a_transparent_colour_becomes_white_there() -> None:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([10, 20, 30, 40, 50, 60])
    assert decode_picture(file_of(image, "PNG", transparency=0)).getpixel((0, 0)) == (255, 255, 255)


def test_sixteen_bits_become_eight() -> None:
    deep = Image.new("I;16", (4, 4), 0x8000)
    assert decode_picture(file_of(deep, "PNG")).getpixel((0, 0)) == (128, 128, 128)


def test_a_picture_lying_on_its_side_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode_picture(file_of(Image.new("RGB", (16, 8)), "JPEG", exif=exif)).size == (8, 16)


def test_of_an_animation_the_first_picture_is_taken() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = file_of(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode_picture(data).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("size", [(10_000, 9_000), (30_000, 30_000), (100_000, 100_000), (1, 2**31 - 1)])
def test_a_decompression_bomb_is_refused_before_it_is_unpacked(size: tuple[int, int]) -> None:
    with pytest.raises(BadPicture):
        decode_picture(bomb(*size))


def test_a_truncated_picture_is_refused() -> None:
    whole = file_of(Image.effect_noise((64, 64), 50), "JPEG")
    with pytest.raises(BadPicture, match="damaged"):
        decode_picture(whole[: len(whole) // 2])


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_rubbish_is_refused_with_one_kind_of_error(data: bytes) -> None:
    with pytest.raises(BadPicture):
        decode_picture(data)


@settings(deadline=None)
@given(st.integers(0, len(PNG) - 1), st.integers(0, 255))
def test_a_damaged_byte_gives_a_picture_or_the_one_error(place: int, value: int) -> None:
    damaged = PNG[:place] + bytes([value]) + PNG[place + 1 :]
    with contextlib.suppress(BadPicture):
        assert decode_picture(damaged).mode == "RGB"


def test_transparency_shows_the_background() -> None:
    assert decode_picture(file_of(Image.new("RGBA", (4, 4), (9, 9, 9, 0)), "PNG"), "#0000ff").getpixel((0, 0)) == (
        0,
        0,
        255,
    )
    with pytest.raises(BadPicture, match='"whitish" is no colour'):
        decode_picture(file_of(Image.new("RGBA", (4, 4)), "PNG"), "whitish")


def test_a_thumbnail_covers_the_asked_size_and_is_small() -> None:
    data = thumbnail(file_of(Image.effect_noise((1600, 900), 50).convert("RGB"), "JPEG"), 160, 200)
    image = Image.open(io.BytesIO(data))
    assert (image.format, image.size) == ("WEBP", (356, 200))


def test_a_thumbnail_never_enlarges() -> None:
    assert Image.open(io.BytesIO(thumbnail(PNG, 200, 200))).size == (9, 5)


def test_a_thumbnail_of_rubbish_is_a_bad_picture() -> None:
    with pytest.raises(BadPicture):
        thumbnail(b"<svg onload=alert(1)>", 10, 10)
