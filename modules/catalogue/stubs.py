"""What a weights file holds, without the weights: the shapes and types of its tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class TensorStub:
    """A tensor's element type, in safetensors' spelling ("F32", "BF16", "U8" ...), and its shape."""

    dtype: str
    shape: tuple[int, ...]


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
