"""The infotext inside picture files."""

from __future__ import annotations

import io
import json
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from modules.images import BadPicture, encode, read_metadata

TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1)
SMALL = Image.new("RGB", (8, 8), "teal")


@settings(deadline=None)
@given(TEXTS, st.sampled_from(["png", "jpg", "jpeg", "webp", "avif"]))
def test_what_is_written_is_read_back_in_every_format(text: str, format: str) -> None:
    data, _ = encode(SMALL, text, format=format)
    assert read_metadata(data).infotext == text


@pytest.mark.parametrize("format", ["png", "jpg", "webp", "avif"])
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


def test_a_picture_too_large_for_jpeg_or_webp_becomes_png() -> None:
    # I004
    assert encode(Image.new("L", (65_536, 1)), "x", format="jpg")[1] == ".png"
    assert encode(Image.new("L", (65_501, 1)), "x", format="jpg")[1] == ".png"
    assert encode(Image.new("L", (65_500, 1)), "x", format="jpg")[1] == ".jpg"
    assert encode(Image.new("L", (16_383, 1)), "x", format="webp")[1] == ".webp"


def test_a_system_that_cannot_write_avif_writes_png(monkeypatch: pytest.MonkeyPatch) -> None:
    # I004
    monkeypatch.setattr("modules.images.metadata.features.check", lambda name: False)
    assert encode(SMALL, "x", format="avif")[1] == ".png"


GRAPH = {
    "1": {
        "class_type": "KSampler",
        "inputs": {"seed": 5, "steps": 9, "cfg": 2, "positive": ["2", 0], "negative": ["2", 0]},
    },
    "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat"}},
}


def test_comfyuis_graph_in_a_png_is_an_infotext() -> None:
    # T001
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("prompt", json.dumps(GRAPH))
    buffer = io.BytesIO()
    SMALL.save(buffer, "PNG", pnginfo=chunks)
    found = read_metadata(buffer.getvalue())
    assert (found.program, found.items["prompt"]) == ("ComfyUI", json.dumps(GRAPH))
    assert found.infotext.startswith("a cat\nNegative prompt: a cat\nSteps: 9,")


def test_comfyuis_graph_in_a_webps_exif_is_an_infotext() -> None:
    # T001
    exif = Image.Exif()
    exif[0x0110], exif[0x010F] = f"prompt:{json.dumps(GRAPH)}", f"workflow:{json.dumps({'nodes': []})}"
    buffer = io.BytesIO()
    SMALL.save(buffer, "WEBP", exif=exif)
    found = read_metadata(buffer.getvalue())
    assert (found.program, set(found.items)) == ("ComfyUI", {"prompt", "workflow"})


def test_swarmuis_json_in_a_jpegs_comment_is_an_infotext() -> None:
    # T001
    exif = Image.Exif()
    said = json.dumps({"sui_image_params": {"prompt": "a cat", "steps": 9, "seed": 1, "cfgscale": 2}})
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + said.encode("utf-16-be")
    buffer = io.BytesIO()
    SMALL.save(buffer, "JPEG", exif=exif)
    found = read_metadata(buffer.getvalue())
    assert (found.program, found.infotext.split("\n")[0]) == ("SwarmUI", "a cat")


def test_a_cameras_texts_are_items_and_no_infotext() -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Nikon", "Z5"
    buffer = io.BytesIO()
    SMALL.save(buffer, "JPEG", exif=exif)
    found = read_metadata(buffer.getvalue())
    assert (found.infotext, dict(found.items)["Make"]) == ("", "Nikon")


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt"])
def test_a_chunk_of_text_that_unpacks_to_gigabytes_is_refused_or_cut(kind: bytes) -> None:
    bomb = zlib.compress(b"x" * 80_000_000)
    bodies = {
        b"tEXt": b"parameters\0" + b"x" * 20_000_000,
        b"zTXt": b"parameters\0\0" + bomb,
        b"iTXt": b"parameters\0\x01\0\0\0" + bomb,
    }
    data, _ = encode(SMALL, "")
    body = bodies[kind]
    chunk = len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
    try:
        assert len(read_metadata(data[:33] + chunk + data[33:]).infotext) <= 2**26
    except BadPicture as error:
        assert str(error)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@settings(deadline=None)
@given(st.sampled_from(["png", "jpg", "webp", "avif"]), st.data())
def test_a_picture_cut_off_or_changed_anywhere_is_read_or_refused(format: str, data: st.DataObject) -> None:
    whole, _ = encode(SMALL, "a cat\nSteps: 4, Seed: 1, Size: 8x8", format=format)
    cut = data.draw(st.integers(0, len(whole)))
    place = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[place] = data.draw(st.integers(0, 255))
    for damaged in (whole[:cut], bytes(changed)):
        try:
            read_metadata(damaged)
        except BadPicture as error:
            assert str(error)
