"""A file's bytes as tensors, without reading more of it than is looked at."""

from __future__ import annotations

import mmap
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import torch

DTYPES: Mapping[str, torch.dtype] = MappingProxyType(
    {
        "F64": torch.float64,
        "F32": torch.float32,
        "F16": torch.float16,
        "BF16": torch.bfloat16,
        "F8_E4M3": torch.float8_e4m3fn,
        "F8_E5M2": torch.float8_e5m2,
        "I64": torch.int64,
        "I32": torch.int32,
        "I16": torch.int16,
        "I8": torch.int8,
        "U8": torch.uint8,
        "BOOL": torch.bool,
    }
)
"""Element types by their names in safetensors' format."""


def empty_tensor(dtype: torch.dtype, shape: Sequence[int]) -> torch.Tensor:
    """A tensor without a number in it. Raises ValueError where its other sides are beyond measure."""
    try:
        return torch.empty(tuple(shape), dtype=dtype)
    except RuntimeError as error:
        raise ValueError(f"a tensor of shape {tuple(shape)} is beyond measure") from error


class MappedFile:
    """A file that the system reads page by page as tensors are looked at, and may forget again.

    The tensors are views of it: they stay valid when the file is deleted, not when it is written to.
    """

    def __init__(self, path: Path) -> None:
        """Raises OSError where the file cannot be opened, and ValueError where it is empty."""
        self.path = path
        with path.open("rb") as file:
            # a private copy on write, which nobody makes: PyTorch wants memory that could be written to
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        self._bytes = torch.frombuffer(self._map, dtype=torch.uint8)

    def __len__(self) -> int:
        return len(self._bytes)

    def tensor(self, dtype: torch.dtype, shape: Sequence[int], offset: int) -> torch.Tensor:
        """The tensor that lies row by row from byte `offset` on. Raises ValueError where it would end outside."""
        length = dtype.itemsize
        for side in shape:
            length *= side
        if offset < 0 or length < 0 or offset + length > len(self):
            raise ValueError(f"a tensor of shape {tuple(shape)} ends outside the file")
        if length == 0:
            return empty_tensor(dtype, shape)
        content = self._bytes[offset : offset + length]
        if offset % dtype.itemsize:
            content = content.clone()
        return content.view(dtype).view(tuple(shape))

    def forget(self, tensor: torch.Tensor) -> None:
        """Let the system take back the memory behind a tensor of this file; looked at again, it is read again."""
        advise = getattr(mmap, "MADV_DONTNEED", None)
        start = tensor.data_ptr() - self._bytes.data_ptr()
        if advise is None or tensor.numel() == 0 or not 0 <= start < len(self):
            return
        last = sum((side - 1) * step for side, step in zip(tensor.shape, tensor.stride(), strict=True))
        end = min(start + (last + 1) * tensor.element_size(), len(self))
        start -= start % mmap.PAGESIZE
        self._map.madvise(advise, start, end - start)
