"""Tensors out of a file that anyone may have written, kept in memory of our own."""

from __future__ import annotations

from pathlib import Path

import torch

from modules.params import BadFile

Identity = tuple[str, int, int]
"""Path, size in bytes, time of the last change in nanoseconds: another identity, another file."""


def identity(path: Path) -> Identity:
    """The file's identity. Raises BadFile where there is no such file."""
    try:
        status = path.stat()
    except OSError as error:
        raise BadFile(path, f"cannot be read ({error.strerror}). Refresh the list.") from error
    return str(path), status.st_size, status.st_mtime_ns


def owned(path: Path, name: str, tensor: torch.Tensor) -> torch.Tensor:
    """A copy of the tensor that no longer needs the file.

    Raises BadFile where it claims more numbers than the file holds (a pickle can stretch one number to a trillion), or
    holds numbers that are none, since these would turn the whole picture black.
    """
    if tensor.layout is not torch.strided or tensor.is_meta or tensor.is_complex():
        raise BadFile(path, f"holds {name} in a form that no network uses. Download it again.")
    if tensor.nbytes > tensor.untyped_storage().nbytes():
        raise BadFile(path, f"claims {tensor.numel()} numbers for {name} but does not hold them. Delete it.")
    copy = tensor.detach().clone(memory_format=torch.contiguous_format)
    if copy.is_floating_point() and copy.numel() and not _is_finite(copy):
        raise BadFile(path, f"holds NaN or infinity in {name}, so its training went wrong. Get another version of it.")
    return copy


def _is_finite(tensor: torch.Tensor) -> bool:
    if tensor.element_size() < 2:
        tensor = tensor.float()
    low, high = tensor.aminmax()
    return bool(low.isfinite() & high.isfinite())
