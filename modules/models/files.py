"""Tensors by name, read from a file that need not be trusted."""

from __future__ import annotations

import pickle
import struct
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from modules.catalogue import TensorStub, check_pickle, is_safetensors, read_header, read_stubs
from modules.models.archive import read_archive
from modules.models.mapped import DTYPES, MappedFile
from modules.params import BadFile

Named = TypeVar("Named")

MOST_WRAPPINGS = 4
"""State dicts around a state dict that are looked into; a pickle can hold one that is inside itself."""

# What torch.load raises for bytes that torch.save did not write.
_TORN = (
    RuntimeError,
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    OverflowError,
    OSError,
    struct.error,
)


@dataclass(frozen=True)
class Weights:
    """What a weights file holds: tensors by name and the text metadata of its header.

    Tensors may be views of the file on disk: copy before writing to one, or before the file may change.
    """

    path: Path
    tensors: Mapping[str, torch.Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)
    mapped: tuple[MappedFile, ...] = ()
    """The files that the tensors are views of; none where they are in memory of their own."""

    def under(self, prefix: str) -> dict[str, torch.Tensor]:
        """The tensors whose name begins with `prefix`, by the rest of their name."""
        return {name.removeprefix(prefix): tensor for name, tensor in self.tensors.items() if name.startswith(prefix)}


def read_weights(path: Path) -> Weights:
    """The tensors of a `.safetensors` file, or of a PyTorch file that passes the whitelisting scan.

    Raises BadFile where the file is damaged, of another kind, or would run code.
    """
    if not path.is_file():
        raise BadFile(path, f"does not exist in {path.parent}. Refresh the list of models.")
    if is_safetensors(path):
        return _read_safetensors(path)
    if zipfile.is_zipfile(path):
        stubs = _named(path, read_stubs(path), TensorStub)
        tensors, mapped = read_archive(path, stubs)
        return Weights(path, tensors, mapped=(mapped,))
    return Weights(path, _named(path, read_pickled(path), torch.Tensor))


def read_pickled(path: Path) -> Any:
    """The object that `torch.save` wrote: containers, numbers and tensors, nothing that runs. Raises BadFile."""
    check_pickle(path)
    try:
        # torch.load goes by the name where it is given one
        mapped = path.suffix.lower() != ".safetensors" and zipfile.is_zipfile(path)
        with _harmless_classes(), warnings.catch_warnings(), path.open("rb") as file:
            warnings.simplefilter("ignore")  # of old pickle protocols, which are read all the same
            return torch.load(path if mapped else file, map_location="cpu", weights_only=True, mmap=mapped)
    except _TORN as error:
        raise BadFile(path, f"is damaged or no weights file ({_first_line(error)}). Download it again.") from error


def _read_safetensors(path: Path) -> Weights:
    try:
        # the format's own library checks that types, shapes and places agree
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
        header = read_header(path)
        mapped = MappedFile(path)
        tensors = {name: _view(mapped, header.data_start, stub) for name, stub in header.tensors.items()}
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        reason = f"is cut short, damaged or no safetensors file ({_first_line(error)}). Download it again."
        raise BadFile(path, reason) from error
    return Weights(path, tensors, metadata, (mapped,))


def _view(mapped: MappedFile, data_start: int, stub: TensorStub) -> torch.Tensor:
    return mapped.tensor(DTYPES[stub.dtype], stub.shape, data_start + (stub.span.start if stub.span else 0))


def _named(path: Path, content: Any, kind: type[Named]) -> dict[str, Named]:
    """The tensors in the state dict of a training checkpoint, or in the content itself, without what is no tensor."""
    for _ in range(MOST_WRAPPINGS):
        inner = content.get("state_dict") if isinstance(content, Mapping) else None
        if not isinstance(inner, Mapping):
            break
        content = inner
    if not isinstance(content, Mapping):
        what = type(content).__name__.removesuffix("Stub")
        raise BadFile(path, f"holds a {what} where weights by name were expected.")
    tensors = {name: tensor for name, tensor in content.items() if isinstance(tensor, kind)}
    if not tensors or not all(isinstance(name, str) for name in tensors):
        raise BadFile(path, "holds no weights by name.")
    return tensors


class _ModelCheckpoint:
    """Stands for the Lightning callback that SD 1.x training files mention, and that nothing here needs."""


class _ParameterDict:
    """Stands for PyTorch's container of the vectors of early embeddings, which are its attribute `_parameters`."""


@contextmanager
def _harmless_classes() -> Iterator[None]:
    """Inside, torch.load also takes the number types of NumPy and the stand-ins above; the scan knows them all."""
    scalar = np._core.multiarray.scalar
    number_types = [type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32, np.bool_)]
    known = [
        (_ModelCheckpoint, "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint"),
        (_ParameterDict, "torch.nn.modules.container.ParameterDict"),
        (scalar, "numpy.core.multiarray.scalar"),  # where NumPy 1 had it
        (scalar, "numpy._core.multiarray.scalar"),
        np.dtype,
        *number_types,
    ]
    with torch.serialization.safe_globals(known):
        yield


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]
