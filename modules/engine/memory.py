"""What to say, and what to let go, when there is not enough memory."""

from __future__ import annotations

import gc
import traceback

import torch

from modules.models import free_memory, is_out_of_memory

from .device import describe, memory

__all__ = ["explain", "is_out_of_memory", "let_go"]

GIB = 2**30


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
