"""Which weights of a model are merged with patches at the moment, and the way back.

Merged weights stay in place when a picture is finished: the next one most often wants the same networks, and then costs
nothing. Whoever reads a weight meanwhile gets it as the checkpoint has it, since the fields of a Model that hold
networks are `Guarded`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar, overload

import torch
from torch import nn

from modules.models.merging import merge, ordinary_tensors
from modules.models.patches import WeightPatch
from modules.models.threads import side_by_side
from modules.params import BadFile

Module = TypeVar("Module")
Chains = Mapping[str, Sequence[WeightPatch]]
"""Patches by target, in the order in which they are added."""

STAYS = ("unet.", "text_encoder.", "text_encoder_2.")
"""Targets that stay merged between pictures; the VAE is read outside `patched`."""
SPARE = 1 / 3
"""The share of a device's memory that copies of originals leave free for the picture itself."""
MANY = 2**22
"""Numbers to be filled, from which on it pays to have threads fill several weights at a time."""


@dataclass(frozen=True, eq=False)
class Slot:
    """Where a target lies on the model; the parameter of a bias that the layer lacks is None."""

    module: nn.Module
    attribute: str

    @property
    def parameter(self) -> nn.Parameter | None:
        return getattr(self.module, self.attribute)


@dataclass(frozen=True, eq=False)
class Sources:
    """The tensors that weights were copied from, by target, while the files that they are views of stay unchanged."""

    tensors: Mapping[str, torch.Tensor]
    stamps: Mapping[Path, tuple[int, int, int]]

    @classmethod
    def of(cls, tensors: Mapping[str, torch.Tensor], files: Iterable[Path]) -> Self:
        return cls(tensors, {file: _stamp(file) for file in files})

    def get(self, target: str) -> torch.Tensor | None:
        """The tensor. Raises BadFile where a file was written to: what its views hold now is anyone's guess.

        A file that was deleted or replaced is still there for whoever has it open.
        """
        for file, stamp in self.stamps.items():
            now = _stamp(file)
            if now[0] == stamp[0] and now != stamp:
                raise BadFile(file, "was written to while it was in use. Refresh the list of models and try again.")
        return self.tensors.get(target)


def _stamp(file: Path) -> tuple[int, int, int]:
    try:
        status = file.stat()
    except OSError:
        return (0, 0, 0)
    return status.st_ino, status.st_size, status.st_mtime_ns


@dataclass(frozen=True, eq=False)
class Fill:
    """A weight to be filled, in whichever thread, and what is to be noted once it is."""

    out: torch.Tensor
    work: Callable[[], object]
    note: Callable[[], object]

    def __call__(self) -> None:
        with ordinary_tensors():
            self.work()
        self.note()


class Merges:
    """The merged weights of one model."""

    def __init__(self, sources: Sources | None = None) -> None:
        """`sources` are read instead of copies of the originals, which then need no memory of their own."""
        self.written = 0
        """How many weights were filled so far, with sums or with originals: a measure of the work done."""
        self._sources = sources or Sources({}, {})
        self._copies: dict[str, torch.Tensor] = {}
        self._present: dict[str, tuple[Slot, Hashable]] = {}
        self._added: set[str] = set()
        self._uncond: dict[str, tuple[Slot, Hashable, torch.Tensor]] = {}
        self._is_in_use = False

    @property
    def copied(self) -> int:
        """Bytes of originals that are kept because they can be read nowhere else, or not fast enough."""
        return sum(copy.nbytes for copy in self._copies.values())

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Inside, weights may be merged; after a failure none is."""
        if self._is_in_use:
            raise RuntimeError("The model is patched already; give all patches to one call of patched().")
        self._is_in_use = True
        succeeded = False
        try:
            yield
            succeeded = True
        finally:
            self._is_in_use = False
            self._put_back([target for target in self._present if not (succeeded and target.startswith(STAYS))])
            if not succeeded:  # perhaps for want of memory
                self._uncond.clear()
                self._copies.clear()

    def settle(self) -> None:
        """Every weight as the checkpoint has it, unless the model is in use."""
        if not self._is_in_use:
            self._put_back(list(self._present))
            self._uncond.clear()

    def holds(self, chains: Chains, uncond: Chains) -> bool:
        """Whether exactly these sums are there already."""
        present = {target: key for target, (_, key) in self._present.items() if key != ()}
        apart = {target: key for target, (_, key, _) in self._uncond.items()}
        return present == _keys(chains) and apart == _keys(uncond)

    def become(self, slots: Mapping[str, Slot], chains: Chains, uncond: Chains) -> None:
        """The weights of `chains` merged in place, those of `uncond` beside it, and all others as they were.

        Raises PatchError where a difference has another shape than its weight.
        """
        self._put_back([target for target in self._present if target not in chains])
        for target in [target for target in self._uncond if target not in uncond]:
            del self._uncond[target]
        lacking = {target: () for target in uncond if target in self._added or slots[target].parameter is None}
        with ordinary_tensors():
            sums = [self._merge(target, slots[target], chain) for target, chain in (lacking | dict(chains)).items()]
            apart = [self._merge_apart(target, slots[target], chain) for target, chain in uncond.items()]
            self._fill([fill for fill in (*sums, *apart) if fill is not None])

    def apart(self) -> tuple[tuple[nn.Parameter, torch.Tensor], ...]:
        """The parameters that the unconditional pass has other values for, and these."""
        found = ((slot.parameter, merged) for slot, _, merged in self._uncond.values())
        return tuple((parameter, merged) for parameter, merged in found if parameter is not None)

    def _merge(self, target: str, slot: Slot, chain: Sequence[WeightPatch]) -> Fill | None:
        """What is to be done, unless the sum is there."""
        key = _key(chain)
        if target in self._present and self._present[target][1] == key:
            return None
        original, data = self._original(target, slot), _data(slot)
        if target not in self._present:
            original = data  # the same numbers, and nearer
        self._present[target] = (slot, None)  # put back from here on, whatever happens

        def note() -> None:
            self._present[target] = (slot, key)

        return Fill(data, partial(merge, data, original, chain), note)

    def _merge_apart(self, target: str, slot: Slot, chain: Sequence[WeightPatch]) -> Fill | None:
        key = _key(chain)
        if target in self._uncond and self._uncond[target][1] == key:
            return None
        kept = self._uncond.pop(target, None)
        original = self._original(target, slot)
        merged = kept[2] if kept else torch.empty_like(_data(slot))

        def note() -> None:
            self._uncond[target] = (slot, key, merged)

        return Fill(merged, partial(merge, merged, original, chain), note)

    def _fill(self, fills: Sequence[Fill]) -> None:
        """Do what is to be done, the largest first: several at a time on a CPU."""
        fills = sorted(fills, key=lambda fill: -fill.out.numel())
        if any(fill.out.device.type != "cpu" for fill in fills) or sum(fill.out.numel() for fill in fills) < MANY:
            for fill in fills:
                fill()
        else:
            side_by_side(fills)
        self.written += len(fills)

    def _original(self, target: str, slot: Slot) -> torch.Tensor:
        """What the weight is without patches; of a bias that the layer lacks zeros, which it then has."""
        copy = self._copies.get(target)
        if copy is not None:
            return copy
        if slot.parameter is None:
            self._add(target, slot)
        source = self._sources.get(target)
        data = _data(slot)
        if source is None or (data.is_cuda and target not in self._present and _has_room(data)):
            source = self._copies[target] = data.clone()
        return source

    def _add(self, target: str, slot: Slot) -> None:
        weight = slot.module.weight
        setattr(slot.module, slot.attribute, nn.Parameter(weight.new_zeros(weight.shape[0]), requires_grad=False))
        self._added.add(target)

    def _put_back(self, targets: Sequence[str]) -> None:
        if not targets:
            return
        with ordinary_tensors():
            fills = []
            for target in targets:
                slot, _ = self._present[target]
                if target in self._added:
                    setattr(slot.module, slot.attribute, None)
                    self._added.discard(target)
                    self._copies.pop(target, None)
                    del self._present[target]
                else:
                    data, forget = _data(slot), partial(self._present.pop, target)
                    fills.append(Fill(data, partial(data.copy_, self._original(target, slot)), forget))
            self._fill(fills)
        if not self._present:
            self._uncond.clear()


class _Holder(Protocol):
    merges: Merges


class Guarded(Generic[Module]):
    """A field of a dataclass with `merges` that holds a network: reading it outside `patched` puts its weights back.

    Nobody who gets at a network that way can see merged weights by mistake. Names and shapes can be read without
    putting anything back through `bare`.
    """

    def __init__(self, *default: Module) -> None:
        self._default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, holder: None, owner: type) -> Module: ...
    @overload
    def __get__(self, holder: _Holder, owner: type) -> Module: ...
    def __get__(self, holder: _Holder | None, owner: type) -> Module:
        if holder is None:
            if not self._default:
                raise AttributeError(self._name)  # how a dataclass knows a field without a default
            return self._default[0]
        holder.merges.settle()
        return holder.__dict__[self._name]

    def __set__(self, holder: _Holder, module: Module) -> None:
        holder.__dict__[self._name] = module


def bare(holder: Any, name: str) -> Any:
    """The network in a Guarded field, for its names, shapes and configuration alone: its weights may be merged ones."""
    return holder.__dict__.get(name)


def _keys(chains: Chains) -> dict[str, Hashable]:
    return {target: _key(chain) for target, chain in chains.items()}


def _key(chain: Sequence[WeightPatch]) -> Hashable:
    return tuple(patch.key for patch in chain)


def _data(slot: Slot) -> torch.Tensor:
    parameter = slot.parameter
    assert parameter is not None
    return parameter.detach()


def _has_room(weight: torch.Tensor) -> bool:
    """Whether the weight's device can hold a copy of it and still have memory to spare."""
    free, total = torch.cuda.mem_get_info(weight.device)
    return free - weight.nbytes > total * SPARE
