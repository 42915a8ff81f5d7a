"""Texts hidden in the lowest bits of the pixels."""

from __future__ import annotations

import gzip
import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from modules.images import read_metadata
from modules.images.stealth import read_stealth

TEXT = "a cat, 猫\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 64x64"


def hidden(
    text: str, *, place: str = "alpha", packed: bool = True, size: tuple[int, int] = (61, 67), length: int | None = None
) -> Image.Image:
    """A picture with a text in its lowest bits, written bit by bit as the format is described."""
    data = gzip.compress(text.encode()) if packed else text.encode()
    name = f"stealth_{'png' if place == 'alpha' else 'rgb'}{'comp' if packed else 'info'}"
    count = len(data) * 8 if length is None else length
    stream = name.encode() + count.to_bytes(4, "big") + data
    bits = [int(bit) for byte in stream for bit in f"{byte:08b}"]
    image = Image.new("RGBA" if place == "alpha" else "RGB", size, (200, 100, 50))
    pixels = image.load()
    assert pixels is not None
    channels = (3,) if place == "alpha" else (0, 1, 2)
    at = iter(bits)
    for x in range(size[0]):
        for y in range(size[1]):
            pixel = list(pixels[x, y])
            for channel in channels:
                pixel[channel] = (pixel[channel] & 0xFE) | next(at, 0)
            pixels[x, y] = tuple(pixel)
    assert next(at, None) is None, "the picture is too small for the text"
    return image


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("place", ["alpha", "rgb"])
@pytest.mark.parametrize("packed", [True, False])
def test_a_text_hidden_in_alpha_or_colours_is_the_infotext(place: str, packed: bool) -> None:
    # T001
    assert read_metadata(png(hidden(TEXT, place=place, packed=packed))).infotext == TEXT


def test_novelais_hidden_texts_are_read_as_its_open_ones() -> None:
    # T001
    comment = json.dumps({"steps": 28, "sampler": "k_euler", "seed": 5, "scale": 6.0, "uc": "lowres"})
    said = json.dumps({"Description": "1girl", "Software": "NovelAI", "Comment": comment})
    found = read_metadata(png(hidden(said)))
    assert found.program == "NovelAI"
    assert found.infotext == (
        "1girl\nNegative prompt: lowres\n"
        "Steps: 28, Sampler: Euler, CFG scale: 6, Seed: 5, Size: 61x67, Clip skip: 2, ENSD: 31337, Version: NovelAI"
    )
    assert found.items["Software"] == "NovelAI"


@pytest.mark.parametrize("length", [0, 1, 2**31, 2**32 - 1, 61 * 67])
def test_a_hidden_length_that_cannot_be_hides_nothing(length: int) -> None:
    assert read_stealth(hidden(TEXT, length=length)) in ("", "a cat")


def test_a_hidden_bomb_is_unpacked_no_further_than_the_limit() -> None:
    assert len(read_stealth(hidden("x" * 40_000_000, size=(700, 600)))) <= 8 * 2**20


def test_hidden_rubbish_behind_a_signature_is_no_text() -> None:
    image = hidden("x", packed=False)
    pixels = np.array(image)
    bits = pixels[:, :, 3].T.reshape(-1)
    for place, letter in enumerate(b"stealth_pngcomp"):
        bits[place * 8 : place * 8 + 8] = [(letter >> (7 - bit)) & 1 for bit in range(8)]
    pixels[:, :, 3] = bits.reshape(pixels.shape[1], pixels.shape[0]).T
    assert read_stealth(Image.fromarray(pixels)) == ""


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(["RGB", "RGBA", "L", "P"]), st.randoms())
def test_no_pixels_are_too_odd_to_look_into(width: int, height: int, mode: str, random: object) -> None:
    data = np.frombuffer(random.randbytes(width * height * 4), np.uint8)  # type: ignore[attr-defined]
    image = Image.fromarray(data.reshape(height, width, 4), "RGBA").convert(mode)
    read_stealth(image)
