"""The header of a .safetensors file: names, types and shapes of its tensors, and its metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modules.params import BadFile

from .stubs import TensorStub

MAX_HEADER_BYTES = 100_000_000
"""The format's own limit (huggingface/safetensors)."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a .safetensors file says of itself; `data_start` is where the weights begin."""

    tensors: Mapping[str, TensorStub]
    metadata: Mapping[str, str]
    data_start: int


def read_header(path: Path) -> Header:
    """The header of the file; the weights are not read, but must all be there.

    Raises BadFile for a file that is truncated, damaged or of another kind.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            size = path.stat().st_size
            if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
                raise BadFile(path, "is no .safetensors file, or only its beginning. Download it again.")
            text = file.read(length)
    except OSError as error:
        raise BadFile(path, f"cannot be read: {error.strerror or error}.") from error
    entries = _entries(path, text)
    metadata = entries.pop("__metadata__", {})
    tensors = {name: _stub(path, name, entry) for name, entry in entries.items()}
    expected = 8 + length + max((entry["data_offsets"][1] for entry in entries.values()), default=0)
    if size < expected:
        raise BadFile(path, f"is cut off: {size:,} of {expected:,} bytes are there. Download it again.")
    if size > expected:
        raise BadFile(path, f"has {size - expected:,} bytes too many. Download it again.")
    return Header(tensors, _texts(metadata), 8 + length)


def _entries(path: Path, text: bytes) -> dict[str, Any]:
    """The header's JSON object."""
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadFile(path, "is no .safetensors file, or its header is damaged. Download it again.") from error
    if not isinstance(entries, dict):
        raise BadFile(path, "is no .safetensors file. Download it again.")
    return entries


def _stub(path: Path, name: str, entry: Any) -> TensorStub:
    """The stub of one tensor, from its entry in the header."""
    try:
        begin, end = entry["data_offsets"]
        stub = TensorStub(str(entry["dtype"]), tuple(int(length) for length in entry["shape"]))
        if not 0 <= int(begin) <= int(end) or min(stub.shape, default=0) < 0:
            raise ValueError(name)
    except (KeyError, TypeError, ValueError) as error:
        raise BadFile(path, f"describes the tensor {name!r} wrongly. Download it again.") from error
    return stub


def _texts(metadata: Any) -> dict[str, str]:
    """The metadata as texts; what is no text stays as its JSON."""
    if not isinstance(metadata, dict):
        return {}
    return {str(key): value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()}
