"""States that text encoders gave before, so that the next picture with the same prompt encodes nothing (E002)."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch

from modules.conditioning.clip import Row, State, Vectors
from modules.conditioning.readings import Reading
from modules.models import Model, Pass, Patch, WeightPatch

MIB = 2**20
Kept = OrderedDict["StateKey", State]


class StateKey(NamedTuple):
    """Everything that the state of a row depends on, beside the model: equal keys, equal states.

    What is not in it acts on states later and costs nothing: weights and the mode of emphasis, schedules, AND, sizes.
    """

    row: Row
    vectors: tuple[tuple[str, bytes], ...]
    """The digest of each embedding's vectors, by its name."""
    encoder: str
    skip: int
    is_normed: bool
    pad: int
    dtype: torch.dtype
    device: torch.device
    changes: Hashable
    """What networks do to the text encoders."""

    @classmethod
    def of(cls, reading: Reading, row: Row, embeddings: Mapping[str, Vectors], changes: Hashable) -> StateKey:
        """The key of a row under a reading; of `embeddings`, those that are in the row."""
        names = dict.fromkeys(slot.name for slot in row.slots)
        vectors = tuple((name, _digest(embeddings[name].get(reading.name))) for name in names)
        encoder = reading.encoder
        return cls(
            row,
            vectors,
            reading.name,
            reading.skip,
            reading.is_normed,
            reading.pad,
            encoder.dtype,
            encoder.device,
            changes,
        )


@dataclass
class ConditioningCache:
    """The states used last, up to `limit_bytes` of each model that is in memory; a model that goes takes its own along.

    `under` gives it to `encode`: there is no way in without saying what networks do to the text encoders.
    """

    limit_bytes: int = 128 * MIB
    _kept: WeakKeyDictionary[Model, Kept] = field(default_factory=WeakKeyDictionary, repr=False)

    def under(self, changes: Hashable) -> CachedStates:
        """The cache for text encoders that are changed in this way; `text_changes` says it of patches."""
        return CachedStates(self, changes)

    def state(self, model: Model, key: StateKey, read: Callable[[], State]) -> State:
        """The state under `key`, from `read` where there is none."""
        kept = self._kept.setdefault(model, OrderedDict())
        if key in kept:
            kept.move_to_end(key)
            return kept[key]
        kept[key] = state = read()
        while kept and sum(map(_bytes, kept.values())) > self.limit_bytes:
            kept.popitem(last=False)
        return state

    def nbytes(self, model: Model) -> int:
        """How much is kept of a model."""
        return sum(map(_bytes, self._kept.get(model, {}).values()))

    def clear(self) -> None:
        """Forget everything; needed when the weights of a model are replaced."""
        self._kept.clear()


class CachedStates(NamedTuple):
    """A cache, and what networks do to the text encoders while it is used."""

    cache: ConditioningCache
    changes: Hashable


def text_changes(patches: Iterable[Patch], which: Pass) -> Hashable:
    """What `patches` do to the text encoders while the prompts of `which` pass are encoded; () is nothing."""
    acting = [patch for patch in patches if isinstance(patch, WeightPatch) and patch.target.startswith("text_encoder")]
    return tuple((patch.target, patch.key) for patch in acting if which is Pass.UNCOND or patch.on is Pass.BOTH)


def _digest(vectors: torch.Tensor | None) -> bytes:
    """Stands for the numbers themselves: embeddings of one name may be of two files, or of one that was changed."""
    if vectors is None:
        return b""
    content = vectors.detach().float().cpu().contiguous().numpy()
    return hashlib.blake2b(content.tobytes() + repr(tuple(vectors.shape)).encode(), digest_size=16).digest()


def _bytes(state: State) -> int:
    return sum(part.nbytes for part in state if part is not None)
