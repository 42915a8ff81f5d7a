"""What to say, and what to let go, when there is not enough memory."""

from __future__ import annotations

import gc
import re
import traceback

import torch

from modules.models import free_memory, is_out_of_memory

from .device import describe, memory

__all__ = ["explain", "is_out_of_memory", "let_go"]

MIB, GIB = 2**20, 2**30
_TRIED = re.compile(r"tried to allocate (\d+(?:\.\d+)?) (bytes|[KMG]iB)", re.IGNORECASE)
_UNITS = {"bytes": 1, "kib": 2**10, "mib": MIB, "gib": GIB}


def explain(error: Exception, device: torch.device) -> str:
    """The failure in words, with figures where the device gives them; to be asked before anything is let go."""
    needed, known = wanted_bytes(error), memory(device)
    figures = [f"{_size(needed)} more were needed"] if needed else []
    figures += [f"{known[0] / GIB:.1f} of {known[1] / GIB:.1f} GiB are free"] if known else []
    told = f" ({', '.join(figures)})" if figures else ""
    return (
        f"Out of memory on {describe(device)}{told}. Make the picture or the batch smaller, "
        "or close other programs that use this device."
    )


def wanted_bytes(error: Exception) -> int | None:
    """How much the allocation was for that failed, as far as PyTorch's message says."""
    found = _TRIED.search(str(error))
    return int(float(found[1]) * _UNITS[found[2].lower()]) if found else None


def _size(number: int) -> str:
    return f"{number / GIB:.1f} GiB" if number >= GIB else f"{max(number / MIB, 0.1):.1f} MiB"


def let_go(error: BaseException, device: torch.device) -> None:
    """Free what the failed job still holds: the frames of a traceback keep every tensor alive."""
    chain: BaseException | None = error
    while chain is not None:
        traceback.clear_frames(chain.__traceback__)
        chain = chain.__cause__ or chain.__context__
    gc.collect()
    free_memory(device)
