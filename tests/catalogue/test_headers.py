"""Reading .safetensors headers."""

from __future__ import annotations

import contextlib
import json
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modules.catalogue import TensorStub, read_header
from modules.params import BadFile

from .files import LORA, write_tensors

GOLDEN = Path(__file__).parents[1] / "data" / "golden"


def raw(path: Path, header: object, data: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def test_names_shapes_types_and_metadata_are_read(tmp_path: Path) -> None:
    header = read_header(write_tensors(tmp_path / "a.safetensors", {"x": (2, 3)}, {"ss_output_name": "Ä"}))
    assert header.tensors == {"x": TensorStub("F16", (2, 3))}
    assert header.metadata == {"ss_output_name": "Ä"}


@pytest.mark.parametrize("path", sorted(GOLDEN.rglob("*.safetensors")), ids=lambda path: path.name)
def test_every_file_of_the_reference_is_read(path: Path) -> None:
    assert dict(read_header(path).tensors)


@pytest.mark.parametrize("kept", [0, 4, 8, 20, -1])
def test_a_truncated_file_says_to_download_it_again(kept: int, tmp_path: Path) -> None:
    path = write_tensors(tmp_path / "a.safetensors", LORA)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(BadFile, match="Download it again"):
        read_header(path)


def test_a_file_with_something_behind_its_end_is_refused(tmp_path: Path) -> None:
    path = write_tensors(tmp_path / "a.safetensors", LORA)
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(BadFile, match="too many"):
        read_header(path)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F16", "shape": [2], "data_offsets": [0]},
        {"dtype": "F16", "shape": [2], "data_offsets": [4, 0]},
        {"dtype": "F16", "shape": [-2], "data_offsets": [0, 4]},
        {"dtype": "F16", "shape": "no", "data_offsets": [0, 4]},
        {"dtype": "F16", "shape": [float("inf")], "data_offsets": [0, 4]},
        {"dtype": "F16", "shape": [2], "data_offsets": ["a", "b"]},
        {"shape": [2], "data_offsets": [0, 4]},
        7,
        None,
    ],
)
def test_a_tensor_described_wrongly_is_named(entry: object, tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="'x'"):
        dict(read_header(raw(tmp_path / "a.safetensors", {"x": entry}, bytes(4))).tensors)


@pytest.mark.parametrize("header", [b"[1, 2]", b"{", b"\xff\xfe", b"[" * 100_000, b"<html>  </html>"])
def test_a_header_that_is_none_is_a_bad_file(header: bytes, tmp_path: Path) -> None:
    with pytest.raises(BadFile):
        read_header(raw(tmp_path / "a.safetensors", header))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(place=st.integers(0, 200), value=st.integers(0, 255))
def test_a_damaged_byte_gives_a_header_or_a_bad_file(place: int, value: int, tmp_path: Path) -> None:
    data = bytearray((GOLDEN / "embeddings/tisafe.safetensors").read_bytes())
    data[place] = value
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(data)
    with contextlib.suppress(BadFile):
        read_header(path)
