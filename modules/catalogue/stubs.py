"""What a weights file holds, without the weights: the shapes and types of its tensors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Span:
    """Where a tensor's numbers lie.

    In a `.safetensors` file `start` counts bytes from the end of its header; in a PyTorch file it counts elements from
    the start of the named `storage`, and `stride` those between neighbours in each dimension.
    """

    start: int
    storage: str = ""
    stride: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TensorStub:
    """A tensor's element type, in safetensors' spelling ("F32", "BF16", "U8" ...), its shape, and where it lies."""

    dtype: str
    shape: tuple[int, ...]
    span: Span | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Global:
    """The name of a function or class that a pickle mentions; never the thing itself."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(slots=True)
class Opaque:
    """An object that unpickling would make by calling `maker`; recorded, never called."""

    maker: Global
    args: tuple[Any, ...]
    state: Any = None
