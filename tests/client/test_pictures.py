"""Images become the files that programs mean by them."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from modules.client.pictures import file_of, image_of
from modules.images import decode_picture

ORIENTATION, TURNED_LEFT = 0x0112, 6


def as_file(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def test_a_photograph_is_the_same_way_up_as_an_image_as_it_is_as_a_file(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = TURNED_LEFT
    path = tmp_path / "photograph.jpg"
    path.write_bytes(as_file(Image.radial_gradient("L").resize((48, 32)), "JPEG", exif=exif))
    upright = decode_picture(file_of(path))
    assert upright.size == (32, 48)
    with Image.open(path) as image:
        assert decode_picture(file_of(image)).tobytes() == upright.tobytes()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "F", "RGBa"])
def test_an_image_of_any_mode_has_a_file(mode: str) -> None:
    image = Image.new("RGBA" if mode == "RGBa" else mode, (4, 3)).convert(mode)
    assert image_of(file_of(image)).size == (4, 3)


def test_the_text_of_how_an_image_was_made_goes_with_it() -> None:
    image = Image.new("RGB", (4, 3))
    image.info["parameters"] = "a caf\u00e9 \u732b, Steps: 3"
    assert image_of(file_of(image)).info["parameters"] == "a caf\u00e9 \u732b, Steps: 3"
