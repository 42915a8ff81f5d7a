"""Running out of memory, told in figures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from modules.params import TagbrushError

from .plans import Plan

GIB = 2**30


class OutOfMemory(TagbrushError):
    """A picture that needs more memory than there is."""


@contextmanager
def told_when_memory_ends(plan: Plan, pictures: int, device: torch.device) -> Iterator[None]:
    """Raises OutOfMemory with figures where the device, or the machine, has no memory left for the batch."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _is_about_memory(error):
            raise
        what = f"{pictures} pictures of {plan.width}x{plan.height}" if pictures > 1 else f"{plan.width}x{plan.height}"
        remedy = "Make a smaller batch or a smaller picture." if pictures > 1 else "Make a smaller picture."
        raise OutOfMemory(f"Memory is not enough for {what}{_figures(device)}. {remedy}") from error


def _is_about_memory(error: Exception) -> bool:
    """A CPU's allocator says so in the words of a RuntimeError alone."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "allocate memory" in str(error)


def _figures(device: torch.device) -> str:
    if device.type != "cuda":
        return f" on {device.type}"
    free, total = torch.cuda.mem_get_info(device)
    return f": {device} has {total / GIB:.1f} GiB, {free / GIB:.1f} of them free"
