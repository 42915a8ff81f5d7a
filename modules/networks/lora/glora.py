"""GLoRA: a LoRA whose own input is the weight, beside an ordinary one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import torch

from modules.networks.lora.changes import Parts, check, flat, on


@dataclass(frozen=True, eq=False)
class GeneralChange:
    """W a2 a1 + b2 b1 (Chavan et al. 2023, arXiv:2306.07967)."""

    takes: ClassVar = frozenset({"a1", "a2", "b1", "b2"})
    rank: ClassVar = None

    a: tuple[torch.Tensor, torch.Tensor]
    """(I, rank) and (rank, I)"""
    b: tuple[torch.Tensor, torch.Tensor]
    """(O, rank) and (rank, I)"""

    @classmethod
    def claims(cls, parts: Parts) -> bool:
        return parts.keys() >= cls.takes

    @classmethod
    def from_parts(cls, parts: Parts) -> Self:
        a1, a2, b1, b2 = (flat(parts[name]) for name in ("a1", "a2", "b1", "b2"))
        check(a2.shape[1] == a1.shape[0] and b2.shape[1] == b1.shape[0], "GLoRA's matrices differ in rank", a1, b1)
        check(a1.shape[1] == a2.shape[0] == b1.shape[1], "GLoRA's matrices differ in width", a1, a2, b1)
        return cls((a2, a1), (b2, b1))

    def fits(self, shape: torch.Size) -> bool:
        rows, columns = self.b[0].shape[0], self.b[1].shape[1]
        return (rows, columns) == (shape[0], shape[1:].numel())

    def delta(self, original: torch.Tensor, gain: float, dyn: int | None) -> torch.Tensor:
        del dyn
        (a2, a1), (b2, b1) = ((on(left, original) * gain, on(right, original)) for left, right in (self.a, self.b))
        return torch.addmm(b2 @ b1, flat(original) @ a2, a1)
