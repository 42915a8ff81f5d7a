"""LoHa: the elementwise product of two low-rank matrices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import torch

from modules.networks.lora.changes import Parts, check, check_rank, flat, on
from modules.networks.lora.linear import tucker


@dataclass(frozen=True, eq=False)
class HadamardChange:
    """(a1 b1) ∘ (a2 b2), FedPara's way to a high rank from few numbers (Hyeon-Woo et al. 2021, arXiv:2108.06098)."""

    takes: ClassVar = frozenset({"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"})

    factors: tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
    """Two pairs of (O, rank) and (rank, I k k)."""

    @classmethod
    def claims(cls, parts: Parts) -> bool:
        return parts.keys() >= cls.takes

    @classmethod
    def from_parts(cls, parts: Parts) -> Self:
        first, second = ((flat(parts[f"hada_w{number}_a"]), flat(parts[f"hada_w{number}_b"])) for number in (1, 2))
        for a, b in (first, second):
            check(a.shape[1] == b.shape[0], "hada_w_a and hada_w_b differ in rank", a, b)
        check(
            first[0].shape[0] == second[0].shape[0] and first[1].shape[1] == second[1].shape[1],
            "the two products of a LoHa differ in size",
            *first,
            *second,
        )
        return cls((first, second))

    @property
    def rank(self) -> int:
        return self.factors[0][1].shape[0]

    def fits(self, shape: torch.Size) -> bool:
        a, b = self.factors[0]
        return (a.shape[0], b.shape[1]) == (shape[0], shape[1:].numel())

    def delta(self, original: torch.Tensor, gain: float, dyn: int | None) -> torch.Tensor:
        del dyn
        (a1, b1), (a2, b2) = self.factors
        first = (on(a1, original) * gain) @ on(b1, original)
        return first.mul_(on(a2, original) @ on(b2, original))


@dataclass(frozen=True, eq=False)
class TuckerHadamardChange:
    """The same for convolutions, each product around a small kernel of its own."""

    takes: ClassVar = HadamardChange.takes | {"hada_t1", "hada_t2"}

    factors: tuple[tuple[torch.Tensor, torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor, torch.Tensor]]
    """Two triples of (rank, rank, k, k), (rank, O) and (rank, I)."""

    @classmethod
    def claims(cls, parts: Parts) -> bool:
        return parts.keys() >= cls.takes

    @classmethod
    def from_parts(cls, parts: Parts) -> Self:
        first, second = (
            (parts[f"hada_t{number}"], flat(parts[f"hada_w{number}_a"]), flat(parts[f"hada_w{number}_b"]))
            for number in (1, 2)
        )
        for core, a, b in (first, second):
            check(
                core.dim() == 4 and core.shape[:2] == (a.shape[0], b.shape[0]),
                "hada_t, hada_w_a and hada_w_b differ in rank",
                *(core, a, b),
            )
            check_rank(max(core.shape[:2]))
        check(_shape(first) == _shape(second), "the two products of a LoHa differ in size", *first, *second)
        return cls((first, second))

    @property
    def rank(self) -> int:
        return self.factors[0][2].shape[0]

    def fits(self, shape: torch.Size) -> bool:
        return _shape(self.factors[0]) == tuple(shape)

    def delta(self, original: torch.Tensor, gain: float, dyn: int | None) -> torch.Tensor:
        del dyn
        first, second = (tucker(*(on(tensor, original) for tensor in triple)) for triple in self.factors)
        return first.mul_(second).mul_(gain)


def _shape(triple: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> tuple[int, ...]:
    core, a, b = triple
    return (a.shape[1], b.shape[1], *core.shape[2:])
