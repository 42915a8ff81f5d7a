"""PyTorch files (.pt, .ckpt, .bin) read without PyTorch and without running what is in them."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

from modules.params import BadFile

from .pickle_machine import ForbiddenGlobal, PickleError, read_pickle
from .texts import sendable

MAX_PICKLE_BYTES = 64 * 2**20
"""The pickle holds names and shapes alone; a large checkpoint's takes less than a megabyte."""

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_MEMBER = re.compile(
    r"[^/]+/(data\.pkl|version|byteorder|data/\d+|\.data/serialization_id|\.format_version|\.storage_alignment)"
)


class UnsafePickle(BadFile):
    """A file that would run code when opened, or holds what no weights file does."""


def check_pickle(path: Path | str) -> None:
    """Nothing, if the file is a PyTorch file that only holds tensors, containers and numbers.

    Call it before `torch.load(path, weights_only=True)`. Raises UnsafePickle (a BadFile) if the file mentions anything
    outside the whitelist, and BadFile if it is damaged or no PyTorch file.
    """
    read_stubs(path)


def read_stubs(path: Path | str) -> Any:
    """What the file holds, with a `TensorStub` for every tensor; weights are not read.

    Both layouts of `torch.save` are known: the zip archive and the older row of pickles. Errors as `check_pickle`.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(4)
            file.seek(0)
            return _read_zip(path, file) if start == b"PK\x03\x04" else _read_legacy(path, file)
    except ForbiddenGlobal as error:
        raise UnsafePickle(path, _unsafe(f"it asks for {sendable(str(error.name))}")) from error
    except PickleError as error:
        raise BadFile(path, f"is damaged or no PyTorch file ({error}). Download it again.") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise BadFile(path, f"is a damaged zip archive ({error}). Download it again.") from error
    except OSError as error:
        raise BadFile(path, f"cannot be read: {error.strerror or error}.") from error


def _unsafe(what: str) -> str:
    return f"could run code when opened: {what}. It was not opened. Get it as .safetensors, or delete it."


def _read_zip(path: Path, file: BinaryIO) -> Any:
    """The object of the archive's data.pkl."""
    with zipfile.ZipFile(file) as archive:
        members = [info for info in archive.infolist() if not info.is_dir()]
        pickles = [info for info in members if re.fullmatch(r"[^/]+/data\.pkl", info.filename)]
        if len(pickles) != 1:
            raise BadFile(path, "is a zip archive, but not one that PyTorch wrote. Unpack it and use what is inside.")
        for info in members:
            if not _MEMBER.fullmatch(info.filename):
                raise UnsafePickle(path, _unsafe(f"it holds {info.filename!r}, which no weights file does"))
        if pickles[0].file_size > MAX_PICKLE_BYTES:
            raise UnsafePickle(path, _unsafe("its list of contents is larger than any model needs"))
        with archive.open(pickles[0]) as member:
            return read_pickle(io.BytesIO(member.read(MAX_PICKLE_BYTES)))


def _read_legacy(path: Path, file: BinaryIO) -> Any:
    """The object after the three pickles (magic number, protocol, machine) with which such a file begins."""
    stream = _Bounded(file, MAX_PICKLE_BYTES)
    try:
        magic = read_pickle(stream)
    except ForbiddenGlobal:
        raise
    except PickleError as error:
        raise BadFile(path, "is no PyTorch file. Download it again.") from error
    if magic != _LEGACY_MAGIC or read_pickle(stream) != _LEGACY_PROTOCOL:
        raise BadFile(path, "is no PyTorch file (a pickle without PyTorch's mark). Get it as .safetensors.")
    read_pickle(stream)
    return read_pickle(stream)


class _Bounded:
    """The first `limit` bytes of a file: a length written in a pickle cannot make us read gigabytes."""

    def __init__(self, file: BinaryIO, limit: int) -> None:
        self._file, self._left = file, limit

    def read(self, size: int) -> bytes:
        """The next `size` bytes; an error where that is beyond the limit."""
        if size > self._left:
            raise PickleError("an entry is larger than any model needs")
        self._left -= size
        return self._file.read(size)

    def readline(self) -> bytes:
        """The rest of the line."""
        line = self._file.readline(self._left + 1)
        self._left -= len(line)
        if self._left < 0:
            raise PickleError("an entry is larger than any model needs")
        return line
