"""LoKr: a Kronecker product of a small matrix and a larger one, each perhaps of low rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import torch

from modules.networks.lora.changes import Misshapen, Parts, check, check_rank, flat, on
from modules.networks.lora.linear import tucker


@dataclass(frozen=True, eq=False)
class Factor:
    """One side of the product: given whole, as two thin matrices, or as those around a small kernel."""

    whole: torch.Tensor | None
    a: torch.Tensor | None
    b: torch.Tensor | None
    core: torch.Tensor | None

    @classmethod
    def from_parts(cls, parts: Parts, number: int) -> Self:
        whole, a, b, core = (
            parts.get(name) for name in (f"lokr_w{number}", f"lokr_w{number}_a", f"lokr_w{number}_b", f"lokr_t{number}")
        )
        if whole is not None:
            check(whole.dim() in (2, 4), f"lokr_w{number} must be a matrix or a kernel", whole)
            return cls(whole, None, None, None)
        if a is None or b is None:
            raise Misshapen(f"lokr_w{number} is missing, whole and in parts")
        if core is None:
            a, b = flat(a), flat(b)
            check(a.shape[1] == b.shape[0], f"lokr_w{number}_a and _b differ in rank", a, b)
            return cls(None, a, b, None)
        check(a.dim() == 2 and b.dim() == 2, f"lokr_w{number}_a and _b must be matrices", a, b)
        check(
            core.dim() == 4 and core.shape[:2] == (a.shape[0], b.shape[0]),
            f"lokr_t{number} and its matrices differ in rank",
            *(core, a, b),
        )
        check_rank(max(core.shape[:2]))
        return cls(None, a, b, core)

    @property
    def rank(self) -> int | None:
        return None if self.b is None else self.b.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        if self.whole is not None:
            return tuple(self.whole.shape)
        assert self.a is not None and self.b is not None
        if self.core is None:
            return (self.a.shape[0], self.b.shape[1])
        return (self.a.shape[1], self.b.shape[1], *self.core.shape[2:])

    def value(self, original: torch.Tensor) -> torch.Tensor:
        if self.whole is not None:
            return on(self.whole, original)
        assert self.a is not None and self.b is not None
        if self.core is None:
            return on(self.a, original) @ on(self.b, original)
        return tucker(on(self.core, original), on(self.a, original), on(self.b, original))


@dataclass(frozen=True, eq=False)
class KroneckerChange:
    """w1 ⊗ w2 (Yeh et al. 2023, LyCORIS, arXiv:2309.14859)."""

    takes: ClassVar = frozenset(f"lokr_{name}" for name in ("w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b", "t2"))

    first: Factor
    second: Factor

    @classmethod
    def claims(cls, parts: Parts) -> bool:
        return bool(parts.keys() & cls.takes)

    @classmethod
    def from_parts(cls, parts: Parts) -> Self:
        first, second = Factor.from_parts(parts, 1), Factor.from_parts(parts, 2)
        if len(first.shape) != 2:
            raise Misshapen(f"lokr_w1 must be a matrix: {list(first.shape)}")
        return cls(first, second)

    @property
    def rank(self) -> int | None:
        return self.second.rank or self.first.rank

    def fits(self, shape: torch.Size) -> bool:
        (rows, columns), (more_rows, *more) = self.first.shape, self.second.shape
        return rows * more_rows == shape[0] and columns * torch.Size(more).numel() == shape[1:].numel()

    def delta(self, original: torch.Tensor, gain: float, dyn: int | None) -> torch.Tensor:
        del dyn
        first, second = self.first.value(original) * gain, self.second.value(original)
        return torch.kron(first.reshape(*first.shape, *(1,) * (second.dim() - 2)), second.contiguous())
