"""What to say, and what to let go, when there is not enough memory."""

from __future__ import annotations

import gc
import traceback

import torch

from .device import describe, free_memory, memory

GIB = 2**30

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


def explain(device: torch.device) -> str:
    """The failure in words, with figures where the device gives them; to be asked before anything is let go."""
    known = memory(device)
    figures = f" ({known[0] / GIB:.1f} of {known[1] / GIB:.1f} GiB are free)" if known else ""
    return (
        f"Out of memory on {describe(device)}{figures}. Make the picture or the batch smaller, "
        "or close other programs that use this device."
    )


def let_go(error: BaseException, device: torch.device) -> None:
    """Free what the failed job still holds: the frames of a traceback keep every tensor alive."""
    chain: BaseException | None = error
    while chain is not None:
        traceback.clear_frames(chain.__traceback__)
        chain = chain.__cause__ or chain.__context__
    gc.collect()
    free_memory(device)
