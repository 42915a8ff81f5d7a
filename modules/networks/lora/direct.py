"""Differences that are stored as they are, and IA3, which scales what is there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import torch

from modules.networks.lora.changes import Parts, check, on


@dataclass(frozen=True, eq=False)
class FullChange:
    """The whole difference to a weight."""

    takes: ClassVar = frozenset({"diff"})
    rank: ClassVar = None

    difference: torch.Tensor

    @classmethod
    def claims(cls, parts: Parts) -> bool:
        return "diff" in parts

    @classmethod
    def from_parts(cls, parts: Parts) -> Self:
        return cls(parts["diff"])

    def fits(self, shape: torch.Size) -> bool:
        return _same_matrix(self.difference.shape, shape)

    def delta(self, original: torch.Tensor, gain: float, dyn: int | None) -> torch.Tensor:
        del dyn
        return on(self.difference, original) * gain


class NormChange(FullChange):
    """The difference to the gain of a normalisation layer."""

    takes: ClassVar = frozenset({"w_norm"})

    @classmethod
    def claims(cls, parts: Parts) -> bool:
        return "w_norm" in parts

    @classmethod
    def from_parts(cls, parts: Parts) -> Self:
        check(parts["w_norm"].dim() == 1, "w_norm must be a row of numbers", parts["w_norm"])
        return cls(parts["w_norm"])

    def fits(self, shape: torch.Size) -> bool:
        return self.difference.shape == shape


@dataclass(frozen=True, eq=False)
class ScalingChange:
    """IA3: the weight times one learnt number per input or per output (Liu et al. 2022, arXiv:2205.05638)."""

    takes: ClassVar = frozenset({"weight", "on_input"})
    rank: ClassVar = None

    factors: torch.Tensor
    per_input: bool

    @classmethod
    def claims(cls, parts: Parts) -> bool:
        return parts.keys() >= cls.takes

    @classmethod
    def from_parts(cls, parts: Parts) -> Self:
        factors, on_input = parts["weight"], parts["on_input"]
        check(on_input.numel() == 1, "on_input must be one truth value", on_input)
        check(factors.numel() == max(factors.shape, default=1), "IA3 must be one row of numbers", factors)
        return cls(factors.flatten(), bool(on_input.item()))

    def fits(self, shape: torch.Size) -> bool:
        return len(shape) >= 2 and self.factors.numel() == (shape[1] if self.per_input else shape[0])

    def delta(self, original: torch.Tensor, gain: float, dyn: int | None) -> torch.Tensor:
        del dyn
        shape = [1] * original.dim()
        shape[1 if self.per_input else 0] = -1
        return original * (on(self.factors, original) * gain).reshape(shape)


def _same_matrix(shape: torch.Size, other: torch.Size) -> bool:
    """Whether both are one matrix of out x in, a 1x1 kernel being the same as none."""
    if len(shape) < 2 or len(other) < 2:
        return shape == other
    return (shape[0], shape[1:].numel()) == (other[0], other[1:].numel())
