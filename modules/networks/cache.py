"""Parsed network files, kept for the next picture."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from modules.networks.embedding import Embedding, load_embedding
from modules.networks.hypernetwork import Hypernetwork, load_hypernetwork
from modules.networks.lora import Lora, load_lora
from modules.networks.tensors import Identity, identity

Network = Lora | Hypernetwork | Embedding
N = TypeVar("N", Lora, Hypernetwork, Embedding)
GIB = 2**30


class NetworkCache:
    """The networks used last, within a budget of memory. A file that changed on disk is read again."""

    def __init__(self, limit_bytes: int = 2 * GIB) -> None:
        self.limit_bytes = limit_bytes
        self._kept: OrderedDict[Identity, Network] = OrderedDict()

    def lora(self, path: Path) -> Lora:
        """The LoRA in the file, read only where it is not kept. Raises BadFile."""
        return self._load(load_lora, path)

    def hypernetwork(self, path: Path) -> Hypernetwork:
        """As `lora`, for a hypernetwork."""
        return self._load(load_hypernetwork, path)

    def embedding(self, path: Path) -> Embedding:
        """As `lora`, for an embedding."""
        return self._load(load_embedding, path)

    def clear(self) -> None:
        """Forget every network."""
        self._kept.clear()

    @property
    def nbytes(self) -> int:
        """Memory that the kept networks take."""
        return sum(network.nbytes for network in self._kept.values())

    def _load(self, read: Callable[[Path], N], path: Path) -> N:
        file = identity(path)
        if file in self._kept:
            self._kept.move_to_end(file)
            return self._kept[file]  # type: ignore[return-value]  # one path is one kind of file
        network = read(path)
        for stale in [kept for kept in self._kept if kept[0] == file[0]]:
            del self._kept[stale]
        if network.nbytes <= self.limit_bytes:
            self._kept[network.identity] = network
        while self.nbytes > self.limit_bytes:
            self._kept.popitem(last=False)
        return network
