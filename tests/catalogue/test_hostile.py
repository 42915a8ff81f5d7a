"""Files made to do harm, or broken anywhere: each is an entry with its fault, in a moment, and runs nothing."""

from __future__ import annotations

import base64
import io
import json
import pickle
import struct
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from modules.api.catalogue import card
from modules.catalogue import KINDS, Catalogue, Entry, Folders, Kind
from modules.catalogue.examine import examine, full_metadata
from modules.catalogue.picture_embeddings import _of_pixels, _random_numbers
from modules.catalogue.sidecars import merged, read_sidecar

from .files import LORA, text, write_tensors

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
SEEDS = [
    *sorted(GOLDEN.glob("embeddings/*")),
    *sorted(GOLDEN.glob("hypernetworks/*"))[:3],
    *sorted(GOLDEN.glob("lora/*"))[:3],
]
SECONDS = 5


def look(path: Path, kinds: Sequence[Kind] = KINDS) -> None:
    """Everything that the program does with a file before it is used, as every kind of file."""
    for kind in kinds:
        facts = examine(kind, path)
        stored = json.dumps(asdict(facts))
        assert facts.error or facts.is_none or stored
        entry = Entry(kind, path, path.parent, path.name, path.stem, path.stem, facts=facts)
        assert card(entry, entry).model_dump_json()


@pytest.fixture
def quickly() -> Iterator[None]:
    begun = time.process_time()
    yield
    assert time.process_time() - begun < SECONDS


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(SEEDS), st.data())
def test_a_file_cut_off_or_changed_anywhere_has_facts_or_a_fault(seed: Path, data: st.DataObject) -> None:
    whole = bytearray(seed.read_bytes())
    for _ in range(data.draw(st.integers(0, 4))):
        whole[data.draw(st.integers(0, min(len(whole), 4096) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.none(), st.integers(0, len(whole))))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / seed.name
        path.write_bytes(whole[:cut])
        look(path)


@settings(deadline=None)
@given(st.binary(max_size=300), st.sampled_from([".pt", ".bin", ".ckpt", ".safetensors", ".png", ".webp"]))
def test_random_bytes_have_a_fault(rubbish: bytes, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{suffix}"
        path.write_bytes(rubbish)
        look(path)


def archived(path: Path, pickled: bytes, **more: Any) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickled)
        for name, data in more.items():
            archive.writestr(name, data)
    return path


LENGTH = struct.Struct("<I")
HUGE = 2**200_000
PICKLES: dict[str, bytes] = {
    "a billion laughs": b"\x80\x02]q\x00"
    + b"".join(b"]q%c(" % n + b"h%c" % (n - 1) * 10 + b"e" for n in range(1, 60))
    + b".",
    "lists in lists": b"\x80\x02" + b"(" * 200_000 + b"l" * 200_000 + b".",
    "tuples in tuples": b"\x80\x02)" + b"\x85" * 150_000 + b".",
    "dicts in dicts": b"\x80\x02" + b"}X\x01\x00\x00\x00a" * 100_000 + b"N" + b"s" * 100_000 + b".",
    "a list in itself": b"\x80\x02]q\x00h\x00a.",
    "a dict in itself": b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.",
    "a number of 60,000 digits": b"\x80\x02}" + text("step") + b"\x8b" + LENGTH.pack(25_001) + b"\1" * 25_001 + b"s.",
    "a shape without end": pickle.dumps({"string_to_param": [HUGE]}, protocol=2),
    "a text of gigabytes": b"\x80\x02X" + LENGTH.pack(2**31) + b"a",
    "bytes of exabytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b"a.",
    "a memo of billions": b"\x80\x02Nr\xff\xff\xff\xffj\xff\xff\xff\xff.",
    "a frame that lies": b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"N.",
    "nothing but pushes": b"\x80\x02" + b"N" * 2_100_000 + b".",
    "an end without a start": b"\x80\x02.",
    "half a surrogate pair": b"\x80\x02}X\x03\x00\x00\x00\xed\xa0\x80X\x03\x00\x00\x00\xed\xa0\x80s.",
    "a frozenset of itself": b"\x80\x04(\x91q\x00(h\x00\x91.",
    "parameters that are their own": b"\x80\x02}"
    + text("string_to_param")
    + b"ctorch.nn.modules.container\nParameterDict\n)\x81q\x00}"
    + text("_parameters")
    + b"h\x00sbs.",
}


@pytest.mark.parametrize("pickled", PICKLES.values(), ids=PICKLES)
def test_a_hostile_pickle_has_a_fault_or_no_effect(pickled: bytes, tmp_path: Path, quickly: None) -> None:
    look(archived(tmp_path / "a.pt", pickled), ["embedding"])
    old = (
        pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2) + pickle.dumps(1001, protocol=2) + pickle.dumps({}, protocol=2)
    )
    (tmp_path / "b.pt").write_bytes(old + pickled)
    look(tmp_path / "b.pt", ["hypernetwork"])


def tensor_pickle(*shape: int) -> bytes:
    """An embedding whose one tensor has the shape, however large."""
    numbers = b"(" + b"".join(pickle.dumps(length, protocol=2)[2:-1] for length in shape) + b"t"
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"K\x01tQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00" + numbers + numbers + b"\x89NtR"
    return b"\x80\x02}" + text("*") + tensor + b"s."


@pytest.mark.parametrize(
    "shape", [(), (0,), (0, 0), (2**40, 768), (1, 2**62), (1, HUGE), (HUGE,), (1,) * 500, (-1, 768), (3, 0)]
)
def test_a_tensor_of_an_absurd_shape_has_a_fault_or_no_effect(
    shape: tuple[int, ...], tmp_path: Path, quickly: None
) -> None:
    look(archived(tmp_path / "a.pt", tensor_pickle(*shape)))
    header = json.dumps(
        {"emb_params": {"dtype": "F16", "shape": [n % 10**4000 for n in shape], "data_offsets": [0, 0]}}
    )
    (tmp_path / "b.safetensors").write_bytes(struct.pack("<Q", len(header)) + header.encode())
    look(tmp_path / "b.safetensors")


@pytest.mark.parametrize(
    "header",
    [
        "[" * 1_000_000,
        '{"a":' * 500_000,
        '{"__metadata__": ' + "[" * 900 + "]" * 900 + "}",
        '{"__metadata__": {"a": "\\ud800", "\\udfff": {"b": [1e999, -1e999]}}}',
        '{"a": {"dtype": "F16", "shape": [' + "9" * 5000 + '], "data_offsets": [0, 0]}}',
        '{"a": {"dtype": {"x": 1}, "shape": [1], "data_offsets": [0, 0]}}',
        '{"a": {"dtype": "F16", "shape": {"x": 1}, "data_offsets": [0, 0]}}',
        '{"a": {"dtype": "F16", "shape": ["7"], "data_offsets": [0, 0]}}',
        '{"a": {"dtype": "F16", "shape": [1.5, true], "data_offsets": [0, 0]}}',
        '{"__metadata__": {"modelspec.resolution": "' + "9" * 400_000 + '"}}',
        '{"__metadata__": {"ss_tag_frequency": "' + "[" * 200_000 + '", "ssmd_cover_images": "' + "[" * 100_000 + '"}}',
    ],
    ids=range(11),
)  # fmt: skip
def test_a_hostile_header_has_a_fault_or_no_effect(header: str, tmp_path: Path, quickly: None) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(header.encode())) + header.encode())
    look(path)


def test_a_header_of_fifty_thousand_tensors_is_read_in_a_moment(tmp_path: Path, quickly: None) -> None:
    look(write_tensors(tmp_path / "a.safetensors", {f"x{number}": (0,) for number in range(50_000)}), ["checkpoint"])


ZIPS: dict[str, Callable[[zipfile.ZipFile], None]] = {
    "a pickle that unpacks to gigabytes": lambda archive: archive.writestr("archive/data.pkl", b"\0" * 80_000_000),
    "a million letters of name": lambda archive: archive.writestr("archive/data/" + "0" * 60_000, b""),
    "a way out of the folder": lambda archive: archive.writestr("../../data.pkl", b"\x80\x02N."),
    "a thousand members": lambda archive: [archive.writestr(f"archive/data/{n}", b"") for n in range(1000)] and None,
    "nothing": lambda archive: None,
}


@pytest.mark.parametrize("fill", ZIPS.values(), ids=ZIPS)
def test_a_hostile_archive_has_a_fault(fill: Callable[[zipfile.ZipFile], None], tmp_path: Path, quickly: None) -> None:
    path = tmp_path / "a.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        fill(archive)
    look(path)
    assert examine("embedding", path).error


def test_two_members_of_one_name_have_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    with zipfile.ZipFile(path, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
        archive.writestr("archive/data.pkl", b"\x80\x02cos\nsystem\n.")
    assert examine("embedding", path).error


def test_a_zip_whose_sizes_lie_has_a_fault(tmp_path: Path, quickly: None) -> None:
    data = bytearray(archived(tmp_path / "a.pt", b"\x80\x02}.").read_bytes())
    for place in (data.index(b"PK\x01\x02") + 24, 22):  # the unpacked size, in the directory and in front of the data
        data[place : place + 4] = b"\xff\xff\xff\x7f"
    (tmp_path / "a.pt").write_bytes(data)
    look(tmp_path / "a.pt")
    assert examine("embedding", tmp_path / "a.pt").error


PICTURE_TEXTS: dict[str, str] = {
    "deep": "[" * 200_000,
    "no dict": "[1]",
    "no rows": '{"string_to_param": {"*": {"TORCHTENSOR": []}}}',
    "uneven rows": '{"string_to_param": {"*": {"TORCHTENSOR": [[1, 2], [3]]}}}',
    "rows in rows": '{"string_to_param": {"*": {"TORCHTENSOR": [[[[1]]]]}}}',
    "no numbers": '{"string_to_param": {"*": {"TORCHTENSOR": [["a", null]]}}, "name": {"a": 1}}',
    "a name that is no text": '{"string_to_param": {"*": {"TORCHTENSOR": [[1]]}}, "name": [1]}',
    "a name of many lines": '{"string_to_param": {"*": {"TORCHTENSOR": [[1]]}}, "name": "../a\\n<b>\\ud800"}',
    "a large number": '{"string_to_param": {"*": {"TORCHTENSOR": [[1]]}}, "step": ' + "9" * 4000 + "}",
}


@pytest.mark.parametrize("document", PICTURE_TEXTS.values(), ids=PICTURE_TEXTS)
def test_a_hostile_embedding_in_a_picture_has_a_fault_or_no_effect(
    document: str, tmp_path: Path, quickly: None
) -> None:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("sd-ti-embedding", base64.b64encode(document.encode("utf-8", "surrogatepass")).decode())
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png", pnginfo=chunks)
    look(tmp_path / "a.png")


def test_a_picture_of_a_gigapixel_is_no_embedding(tmp_path: Path, quickly: None) -> None:
    size = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + size + struct.pack(">I", zlib.crc32(b"IHDR" + size))
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IDAT\x35\xaf\x06\x1e\0\0\0\0IEND\xaeB`\x82")
    assert examine("embedding", path).is_none


def test_low_bits_that_unpack_to_gigabytes_are_no_embedding(tmp_path: Path, quickly: None) -> None:
    packed = zlib.compress(b"[" * 100_000_000)
    height = 64
    width = -(-len(packed) // (height * 3))
    bytes_ = np.frombuffer(packed.ljust(width * height * 3, b"\0"), np.uint8).reshape(height, width, 3)
    mask = (_random_numbers(bytes_.size) % 255).astype(np.uint8).reshape(bytes_.shape) & 0x0F
    blocks = [((half & 0x0F) ^ mask) | 0x10 for half in (bytes_, bytes_ >> 4)]
    gap = np.full((height, 1, 3), 0x10, np.uint8)
    picture = np.concatenate([blocks[0], gap, blocks[0][:, :8], gap, blocks[1]], axis=1)
    with pytest.raises(ValueError, match="too long"):
        _of_pixels(picture)
    Image.fromarray(picture).save(tmp_path / "a.png")
    assert examine("embedding", tmp_path / "a.png").is_none


@pytest.mark.parametrize("ending", [".json", ".txt", ".yaml"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00\xd8",
        b"[" * 900_000,
        b'{"a":' * 150_000,
        b'{"description": ' + b"9" * 10_000 + b"}",
        b'{"description": {"a": 1}, "vae": [1], "preferred weight": 1e999, "sd version": {"a": []}}',
        b'{"preferred weight": NaN, "activation text": "\\ud800", "notes": null}',
        b"parameterization: " * 50_000,
        b" " * 2_000_000,
        b"a: &a [*a, *a, *a]\n" * 10_000,
    ],
    ids=range(10),
)
def test_a_hostile_sidecar_is_as_good_as_none(ending: str, content: bytes, tmp_path: Path, quickly: None) -> None:
    path = tmp_path / f"a{ending}"
    path.write_bytes(content)
    entry = Entry("checkpoint", path, relative="a", name="a", sidecar=merged([read_sidecar(path)]))
    assert card(entry, entry).model_dump_json()
    json.dumps(dict(entry.sidecar))


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from([".json", ".txt", ".yaml", ".description.txt"]))
def test_no_sidecar_is_too_odd(content: bytes, ending: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{ending}"
        path.write_bytes(content)
        entry = Entry("lora", path, sidecar=merged([read_sidecar(path)]))
        assert card(entry).model_dump_json()


def test_a_folder_full_of_hostile_files_is_listed_with_their_faults(tmp_path: Path) -> None:
    # R008
    folders = Folders.from_args(shipped=tmp_path / "program", data_dir=tmp_path)
    folder = folders.embeddings[0]
    folder.mkdir(parents=True)
    for number, pickled in enumerate(PICKLES.values()):
        archived(folder / f"{number:02}.pt", pickled)
    write_tensors(folder / "good.safetensors", {"emb_params": (2, 768)})
    for _ in range(2):  # the second time from the index
        with Catalogue(folders, folders.index) as catalogue:
            catalogue.refresh("embedding", patience=None)
            entries = catalogue.entries("embedding")
            assert len(entries) == len(PICKLES) + 1
            assert [entry.name for entry in entries if not entry.error] == ["good"]


def test_metadata_of_megabytes_is_told_in_full_but_not_on_cards(tmp_path: Path) -> None:
    path = write_tensors(tmp_path / "a.safetensors", LORA, {"ss_tag_frequency": "x" * 5_000_000, "a": "b"})
    assert dict(examine("lora", path).metadata) == {"a": "b"}
    assert len(full_metadata(path)["ss_tag_frequency"]) == 5_000_000


@pytest.mark.parametrize("kind", KINDS)
def test_a_pipe_or_a_folder_with_a_files_name_is_passed_over_or_has_a_fault(kind: Kind, tmp_path: Path) -> None:
    (tmp_path / "a.pt").mkdir()
    assert examine(kind, tmp_path / "a.pt").error


def test_a_row_of_hostile_previews_is_sent_as_it_is_or_not_at_all(tmp_path: Path) -> None:
    folders = Folders.from_args(shipped=tmp_path / "program", data_dir=tmp_path)
    write_tensors(folders.loras[0] / "a.safetensors", LORA)
    for content in (b"<svg onload=alert(1)>", b"GIF8", b"\x89PNG\r\n\x1a\n", io.BytesIO(b"\0" * 100).getvalue(), b""):
        (folders.loras[0] / "a.png").write_bytes(content)
        with Catalogue(folders) as catalogue:
            (entry,) = catalogue.entries("lora")
            found = catalogue.preview_bytes(entry)
            assert found is None or found.media_type in ("image/png", "image/gif")
