"""Telling that memory ran out, and giving back what is only kept in reserve."""

from __future__ import annotations

import torch

_SAID_BY = (
    "out of memory",  # MPS, XPU and drivers
    "can't allocate memory",  # the CPU's allocator on Linux and macOS
    "not enough memory",  # the CPU's allocator on Windows
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` means that an allocation failed, on whichever device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _SAID_BY)


def free_memory(device: torch.device) -> None:
    """Give cached blocks back to the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "xpu":
        torch.xpu.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
