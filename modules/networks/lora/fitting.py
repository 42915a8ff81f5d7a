"""Where the layers of a LoRA file go on one model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn

from modules.models import Model, Pass, Thin, WeightPatch, bare
from modules.networks.lora.layer import Layer
from modules.networks.lora.names import fused_names, layer_name, layer_names
from modules.networks.tensors import Identity

KEPT = 4
"""Sets of patches that are kept, so that the next picture's are the same ones."""


@dataclass(frozen=True)
class Seat:
    """A layer of the model, and the rows of the file's layer that are its own: the `part`-th of `parts` equal ones."""

    layer: str
    """Its dotted name from the Model on."""
    weight: torch.Size
    part: int = 0
    parts: int = 1

    @property
    def network(self) -> str:
        return self.layer.partition(".")[0]

    def rows(self, whole: torch.Tensor) -> torch.Tensor:
        """Its own rows of what the file holds for all parts."""
        return whole.chunk(self.parts)[self.part]


@dataclass(frozen=True, eq=False)
class Fitting:
    """The seats of the layers that fit a model, and their thin matrices on its device."""

    device: torch.device
    layers: Mapping[str, Layer]
    seats: Mapping[str, tuple[Seat, ...]]
    """By the file's name for the layer."""
    _thin: dict[tuple[str, int | None, int], tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)
    _made: dict[tuple[Any, ...], tuple[WeightPatch, ...]] = field(default_factory=dict)

    def patches(
        self, identity: Identity, strengths: Mapping[str, float], dyn: int | None, on: Pass
    ) -> tuple[WeightPatch, ...]:
        """The patches of every layer in a network whose strength is not 0; strengths are by network."""
        asked = (identity, *strengths.values(), dyn, on)
        if asked not in self._made:
            if len(self._made) >= KEPT:
                self._made.clear()
            self._made[asked] = tuple(self._make(identity, strengths, dyn, on))
        return self._made[asked]

    def _make(
        self, identity: Identity, strengths: Mapping[str, float], dyn: int | None, on: Pass
    ) -> Iterator[WeightPatch]:
        for name, seats in self.seats.items():
            for seat in seats:
                if strengths[seat.network] != 0:
                    yield from self._patches(identity, name, seat, strengths[seat.network], dyn, on)

    def _patches(
        self, identity: Identity, name: str, seat: Seat, strength: float, dyn: int | None, on: Pass
    ) -> Iterator[WeightPatch]:
        layer = self.layers[name]
        key = (identity, name, strength, dyn)
        if layer.change is not None:
            delta = partial(_weight_delta, layer, seat, strength=strength, dyn=dyn)
            yield WeightPatch(f"{seat.layer}.weight", delta, key, on, self._thin_of(name, seat, strength, dyn))
        if layer.bias is not None:
            yield WeightPatch(f"{seat.layer}.bias", partial(_bias_delta, layer, seat, strength=strength), key, on)

    def _thin_of(self, name: str, seat: Seat, strength: float, dyn: int | None) -> Thin | None:
        thin = self.layers[name].thin(_whole(seat), strength, dyn)
        if thin is None:
            return None
        place = (name, dyn, seat.part)
        if place not in self._thin:
            self._thin[place] = (seat.rows(thin.up).to(self.device), thin.down.to(self.device))
        return Thin(*self._thin[place], thin.gain)


def fit(model: Model, layers: Mapping[str, Layer]) -> Fitting:
    """Where each layer goes that the model has, in a size that fits."""
    places = {name: (place,) for name, place in layer_names(model).items()} | fused_names(model)
    seats = {}
    for name, layer in layers.items():
        meant = layer_name(name)
        found = _seats(model, places.get(meant, ()) if meant else (), layer)
        if found:
            seats[name] = found
    return Fitting(model.device, layers, seats)


def _seats(model: Model, places: tuple[str, ...], layer: Layer) -> tuple[Seat, ...]:
    modules = [_module(model, place) for place in places]
    seats = tuple(
        Seat(place, module.weight.shape, part, len(places))
        for part, (place, module) in enumerate(zip(places, modules, strict=True))
    )
    if not seats or (len(seats) > 1 and not layer.is_of_rows(seats[0].weight[0])):
        return ()
    if layer.bias is not None and not all(hasattr(module, "bias") for module in modules):
        return ()
    bias = getattr(modules[0], "bias", None)
    bias_shape = None if bias is None else torch.Size((bias.shape[0] * len(seats),))
    return seats if layer.fits(_whole(seats[0]), bias=bias_shape) else ()


def _module(model: Model, place: str) -> nn.Module:
    network, _, path = place.partition(".")
    return bare(model, network).get_submodule(path)


def _whole(seat: Seat) -> torch.Size:
    """The shape of all parts together."""
    return torch.Size((seat.weight[0] * seat.parts, *seat.weight[1:]))


def _weight_delta(
    layer: Layer, seat: Seat, original: torch.Tensor, *, strength: float, dyn: int | None
) -> torch.Tensor:
    if seat.parts == 1:
        return layer.weight_delta(original, strength, dyn)
    # of the other parts nothing is known here, nor needed: rows of this change depend on no other rows
    whole = original.repeat(seat.parts, *(1,) * (original.dim() - 1))
    return seat.rows(layer.weight_delta(whole, strength, dyn))


def _bias_delta(layer: Layer, seat: Seat, original: torch.Tensor, *, strength: float) -> torch.Tensor:
    if seat.parts == 1:
        return layer.bias_delta(original, strength)
    return seat.rows(layer.bias_delta(original.repeat(seat.parts), strength))
