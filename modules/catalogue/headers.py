"""The header of a .safetensors file: names, types and shapes of its tensors, and its metadata."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modules.params import BadFile

from .stubs import Span, TensorStub
from .texts import sendable

MAX_HEADER_BYTES = 100_000_000
"""The format's own limit (huggingface/safetensors)."""

MAX_LENGTH = 2**63
"""Of a tensor's side: the first that no program can count to."""


SUFFIXES = frozenset({".safetensors", ".sft"})


def is_safetensors(path: Path) -> bool:
    """Whether the file is read as .safetensors, rather than by the unpickler that trusts nothing.

    Its content decides, whatever it is called; its name only where the content is neither, to say what is damaged.
    """
    named = path.suffix.lower() in SUFFIXES
    try:
        with path.open("rb") as file:
            start = file.read(9)
        size = path.stat().st_size
    except OSError:
        return named
    if start[8:] == b"{":
        return named or 2 <= int.from_bytes(start[:8], "little") <= min(MAX_HEADER_BYTES, size - 8)
    is_pickled = start[:4] == b"PK\x03\x04" or (start[:1] == b"\x80" and start[1:2] in (b"\2", b"\3", b"\4", b"\5"))
    return named and not is_pickled


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
    expected = 8 + length + _data_size(path, entries)
    if size < expected:
        raise BadFile(path, f"is cut off: {size:,} of {expected:,} bytes are there. Download it again.")
    if size > expected:
        raise BadFile(path, f"has {size - expected:,} bytes too many. Download it again.")
    return Header(_Tensors(path, entries), _texts(metadata), 8 + length)


class _Tensors(Mapping[str, TensorStub]):
    """Stubs made when they are looked at: of a LoRA's hundreds of tensors a few tell all that is asked."""

    def __init__(self, path: Path, entries: Mapping[str, Any]) -> None:
        self._path, self._entries = path, entries

    def __getitem__(self, name: str) -> TensorStub:
        entry = self._entries[name]
        try:
            shape = tuple(int(length) for length in entry["shape"])
            stub = TensorStub(str(entry["dtype"]), shape, Span(int(entry["data_offsets"][0])))
            if not all(0 <= length < MAX_LENGTH for length in stub.shape):
                raise ValueError(name)
        except (KeyError, TypeError, ValueError, OverflowError) as error:  # the last of a length of 1e999
            raise _wrong(self._path, name) from error
        return stub

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def _data_size(path: Path, entries: Mapping[str, Any]) -> int:
    """Where the last tensor's data ends, counted from where the data begins."""
    size = 0
    name = ""
    try:
        for name, entry in entries.items():
            begin, end = entry["data_offsets"]
            if not 0 <= begin <= end:
                raise ValueError(name)
            size = max(size, end)
    except (KeyError, TypeError, ValueError) as error:
        raise _wrong(path, name) from error
    return size


def _wrong(path: Path, name: str) -> BadFile:
    return BadFile(path, f"describes the tensor {name!r} wrongly. Download it again.")


def _entries(path: Path, text: bytes) -> dict[str, Any]:
    """The header's JSON object."""
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadFile(path, "is no .safetensors file, or its header is damaged. Download it again.") from error
    if not isinstance(entries, dict):
        raise BadFile(path, "is no .safetensors file. Download it again.")
    return entries


def _texts(metadata: Any) -> dict[str, str]:
    """The metadata as texts; what is no text stays as its JSON."""
    if not isinstance(metadata, dict):
        return {}
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()}
    return {sendable(key): sendable(value) for key, value in texts.items()}
