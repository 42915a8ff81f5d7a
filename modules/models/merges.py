"""Merged weights kept for the next picture."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager

import torch

GIB = 2**30


class MergeCache:
    """The last few sets of merged weights, so that the same networks on the next picture cost one copy."""

    def __init__(self, limit_bytes: int = 2 * GIB) -> None:
        self.limit_bytes = limit_bytes
        self._sets: OrderedDict[Hashable, Mapping[str, torch.Tensor]] = OrderedDict()
        self._in_use = False

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Marks the weights as patched: sets merged from anything but the originals must not be kept."""
        if self._in_use:
            raise RuntimeError("The model is patched already; give all patches to one call of patched().")
        self._in_use = True
        try:
            yield
        finally:
            self._in_use = False

    def get(self, key: Hashable) -> Mapping[str, torch.Tensor] | None:
        """The weights stored under `key` by target, or None."""
        if key not in self._sets:
            return None
        self._sets.move_to_end(key)
        return self._sets[key]

    def put(self, key: Hashable, merged: Mapping[str, torch.Tensor]) -> None:
        """Keep `merged`, dropping the sets unused for longest; a set beyond the limit by itself is not kept."""
        if _bytes(merged) > self.limit_bytes:
            return
        self._sets[key] = merged
        while sum(map(_bytes, self._sets.values())) > self.limit_bytes:
            self._sets.popitem(last=False)

    def clear(self) -> None:
        """Forget every set; needed when the weights themselves are replaced."""
        self._sets.clear()


def _bytes(merged: Mapping[str, torch.Tensor]) -> int:
    return sum(tensor.nbytes for tensor in merged.values())
