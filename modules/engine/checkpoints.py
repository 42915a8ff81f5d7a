"""The checkpoints kept in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import torch

from modules.catalogue import Entry
from modules.models import Model, load

from .device import free_memory

Key = tuple[tuple[str, int, int], ...]
Tell = Callable[[str], None]


class Checkpoints:
    """The models used last, `limit` of them; a file that changed on disk is loaded again."""

    def __init__(self, device: torch.device, tell: Tell = lambda text: None, *, limit: int = 1) -> None:
        """`tell` is called with what is being loaded, and with "" when that is over."""
        self._device, self._tell, self._limit = device, tell, limit
        self._kept: OrderedDict[Key, Model] = OrderedDict()

    def acquire(self, checkpoint: Entry, vae: Entry | None = None) -> Model:
        """The model of these files. Raises BadFile.

        One that must make room goes before the new one is read, so that both never have to fit.
        """
        key = tuple((str(entry.path), entry.size, entry.mtime_ns) for entry in (checkpoint, vae) if entry is not None)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        while len(self._kept) >= self._limit:
            self._kept.popitem(last=False)
            free_memory(self._device)
        self._tell(f"Loading {checkpoint.name}")
        try:
            model = load(checkpoint.path, device=self._device, vae=_path(vae))
        finally:
            self._tell("")
        self._kept[key] = model
        return model

    def clear(self) -> None:
        """Keep nothing."""
        self._kept.clear()
        free_memory(self._device)


def _path(entry: Entry | None) -> Path | None:
    return entry.path if entry else None
