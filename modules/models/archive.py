"""The tensors of a PyTorch archive (`torch.save` since 1.6), mapped into memory; nothing of its pickle is run."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import torch

from modules.catalogue import TensorStub
from modules.models.mapped import DTYPES, MappedFile, empty_tensor
from modules.params import BadFile

LOCAL_HEADER = 30
"""Bytes of a zip member's own header before its name and extra field, whose lengths are its last four bytes."""
COPIES = 8
"""Times that tensors may fill the file: storages can be shared, but not to make a small file need all memory."""


class Storage(NamedTuple):
    """The bytes of the file that one storage takes."""

    start: int
    length: int


def read_archive(path: Path, stubs: Mapping[str, TensorStub]) -> tuple[dict[str, torch.Tensor], MappedFile]:
    """The tensors that the stubs describe, and the file that they are views of. Raises BadFile."""
    with _damage(path):
        storages = _storages(path)
        mapped = MappedFile(path)
        tensors = {name: _tensor(mapped, stub, storages) for name, stub in stubs.items()}
    if sum(tensor.nbytes for tensor in tensors.values()) > COPIES * len(mapped):
        raise BadFile(path, "describes far more than is in it. Download it again, from a place that you trust.")
    return tensors, mapped


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, RuntimeError, LookupError, zipfile.BadZipFile) as error:
        reason = f"is damaged or no weights file ({str(error).partition(chr(10))[0]}). Download it again."
        raise BadFile(path, reason) from error


def _storages(path: Path) -> dict[str, Storage]:
    """Where each storage's bytes lie, by its name."""
    found = {}
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            name = PurePosixPath(member.filename)
            if name.name == "byteorder" and (member.file_size > 16 or archive.read(member) != b"little"):
                raise ValueError("its numbers are in the order of another kind of machine")
            if name.parent.name != "data":
                continue
            if member.compress_type != zipfile.ZIP_STORED:
                raise ValueError("its weights are compressed")
            file.seek(member.header_offset + LOCAL_HEADER - 4)
            name_length, extra_length = (int.from_bytes(file.read(2), "little") for _ in range(2))
            start = member.header_offset + LOCAL_HEADER + name_length + extra_length
            found[name.name] = Storage(start, member.file_size)
    return found


def _tensor(mapped: MappedFile, stub: TensorStub, storages: Mapping[str, Storage]) -> torch.Tensor:
    if stub.span is None or stub.dtype not in DTYPES:
        raise ValueError(f"a tensor of type {stub.dtype} is described wrongly")
    if 0 in stub.shape:
        return empty_tensor(DTYPES[stub.dtype], stub.shape)
    dtype, storage = DTYPES[stub.dtype], storages[stub.span.storage]
    whole = mapped.tensor(dtype, (storage.length // dtype.itemsize,), storage.start)
    steps = zip(stub.shape, stub.span.stride, strict=True)
    last = stub.span.start + sum((side - 1) * step for side, step in steps)
    if max(math.prod(stub.shape), last + 1) > len(whole):
        raise ValueError(f"a tensor of shape {stub.shape} is larger than its storage")
    return whole.as_strided(stub.shape, stub.span.stride, whole.storage_offset() + stub.span.start)
