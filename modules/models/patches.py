"""What a network asks of a model: changes of weights and of contexts."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import Enum

import torch

from modules.models.attention import ContextChange
from modules.params import TagbrushError


class Pass(Enum):
    """Where a patch acts: everywhere, or in the unconditional pass alone (a network of the negative prompt)."""

    BOTH = "both"
    UNCOND = "uncond"


class PatchError(TagbrushError):
    """A patch that does not fit the model; `key` is the patch's, so that its network can be left out."""

    def __init__(self, message: str, *, key: Hashable) -> None:
        super().__init__(message)
        self.key = key


@dataclass(frozen=True, eq=False)
class Thin:
    """A difference that is `gain` times the product of two thin matrices, on any device and in any number type."""

    up: torch.Tensor
    """(O, rank)"""
    down: torch.Tensor
    """(rank, I k k)"""
    gain: float


@dataclass(frozen=True)
class WeightPatch:
    """A difference to add to one weight.

    `delta` gets the weight in float32 as the patches before this one left it, and returns a float32 difference of the
    same shape, leaving the weight as it is. `key` stands for everything the difference depends on (file and
    multipliers): equal keys, equal differences.
    """

    target: str
    """The weight's name from the Model on, such as `unet.conv_in.weight` or `text_encoder.final_layer_norm.bias`."""
    delta: Callable[[torch.Tensor], torch.Tensor]
    key: Hashable
    on: Pass = Pass.BOTH
    thin: Thin | None = None
    """The same difference as thin matrices, where it is one: it is then added without ever being written out."""


@dataclass(frozen=True)
class ContextPatch:
    """A change of the context that the UNet's attentions of one context width read their keys and values from.

    Both functions map a float32 (B, M, width) context to one of the same shape, the context itself included.
    """

    width: int
    keys: ContextChange
    values: ContextChange
    key: Hashable
    on: Pass = Pass.BOTH


Patch = WeightPatch | ContextPatch
