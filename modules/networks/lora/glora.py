"""GLoRA: a LoRA whose own input is the weight, beside an ordinary one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import torch

from modules.networks.lora.changes import Parts, check, flat, on


@dataclass(frozen=True, eq=False)
class GeneralChange:
    """W a + b, both of low rank (Chavan et al. 2023, arXiv:2306.07967).

    Files name the halves of each product either way round: `a2 a1` and `b2 b1` in those that the ancestor reads,
    without alpha; `a1 a2` and `b1 b2` in those of LyCORIS, times alpha / rank, which the ancestor cannot read.
    """

    takes: ClassVar = frozenset({"a1", "a2", "b1", "b2"})

    a: tuple[torch.Tensor, torch.Tensor]
    """(I, rank) and (rank, I)"""
    b: tuple[torch.Tensor, torch.Tensor]
    """(O, rank) and (rank, I k k)"""
    rank: int | None
    """What alpha is divided by; None in the older order, where it has no say."""

    @classmethod
    def claims(cls, parts: Parts) -> bool:
        return parts.keys() >= cls.takes

    @classmethod
    def from_parts(cls, parts: Parts) -> Self:
        a1, a2, b1, b2 = (flat(parts[name]) for name in ("a1", "a2", "b1", "b2"))
        is_older = b1.shape[0] == b2.shape[1] and b1.shape[0] < b1.shape[1]
        (a_up, a_down), (b_up, b_down) = ((a2, a1), (b2, b1)) if is_older else ((a1, a2), (b1, b2))
        check(
            a_up.shape[1] == a_down.shape[0] and b_up.shape[1] == b_down.shape[0],
            "GLoRA's matrices differ in rank",
            *(a1, a2, b1, b2),
        )
        check(a_up.shape[0] == a_down.shape[1], "GLoRA's matrices differ in width", a1, a2)
        return cls((a_up, a_down), (b_up, b_down), None if is_older else a_down.shape[0])

    def fits(self, shape: torch.Size) -> bool:
        rows, columns = self.b[0].shape[0], self.b[1].shape[1]
        return (rows, columns) == (shape[0], shape[1:].numel()) and self.a[0].shape[0] == shape[1]

    def delta(self, original: torch.Tensor, gain: float, dyn: int | None) -> torch.Tensor:
        del dyn
        (a_up, a_down), (b_up, b_down) = (
            (on(left, original) * gain, on(right, original)) for left, right in (self.a, self.b)
        )
        rows = original.movedim(1, -1)  # (O, k, k, I)
        product = (rows @ a_up @ a_down).movedim(-1, 1)
        return torch.addmm(product.reshape(original.shape[0], -1), b_up, b_down)
