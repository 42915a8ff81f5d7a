"""LoRA and LoCon: two thin matrices, with or without a small kernel between them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Self

import torch

from modules.networks.lora.changes import Parts, check, check_rank, flat, on


@dataclass(frozen=True, eq=False)
class LinearChange:
    """up · down (Hu et al. 2021, arXiv:2106.09685); for a convolution the kernel lies in `down`."""

    takes: ClassVar = frozenset({"up", "down"})

    up: torch.Tensor
    """(O, rank)"""
    down: torch.Tensor
    """(rank, I k k)"""

    @classmethod
    def claims(cls, parts: Parts) -> bool:
        return parts.keys() >= cls.takes

    @classmethod
    def from_parts(cls, parts: Parts) -> Self:
        up, down = flat(parts["up"]), flat(parts["down"])
        check(up.shape[1] == down.shape[0], "lora_up and lora_down differ in rank", up, down)
        return cls(up, down)

    @property
    def rank(self) -> int:
        return self.down.shape[0]

    def fits(self, shape: torch.Size) -> bool:
        return (self.up.shape[0], self.down.shape[1]) == (shape[0], shape[1:].numel())

    def thin(self, dyn: int | None) -> tuple[torch.Tensor, torch.Tensor]:
        """The two matrices, cut to their first `dyn` ranks."""
        return self.up[:, :dyn], self.down[:dyn]

    def delta(self, original: torch.Tensor, gain: float, dyn: int | None) -> torch.Tensor:
        up, down = (on(matrix, original) for matrix in self.thin(dyn))
        if up.numel() < down.numel():
            return (up * gain) @ down
        return up @ (down * gain)


@dataclass(frozen=True, eq=False)
class TuckerChange:
    """A convolution's kernel between two 1x1 convolutions, LyCORIS's LoCon with `use_tucker`."""

    takes: ClassVar = frozenset({"up", "down", "mid"})

    up: torch.Tensor
    """(O, rank)"""
    down: torch.Tensor
    """(rank, I)"""
    mid: torch.Tensor
    """(rank of up, rank of down, k, k)"""

    @classmethod
    def claims(cls, parts: Parts) -> bool:
        return parts.keys() >= cls.takes

    @classmethod
    def from_parts(cls, parts: Parts) -> Self:
        up, down, mid = flat(parts["up"]), flat(parts["down"]), parts["mid"]
        check(
            mid.dim() == 4 and mid.shape[:2] == (up.shape[1], down.shape[0]),
            "lora_up, lora_down and lora_mid differ in rank",
            *(up, down, mid),
        )
        check_rank(max(mid.shape[:2]))
        return cls(up, down, mid)

    @property
    def rank(self) -> int:
        return self.down.shape[0]

    def fits(self, shape: torch.Size) -> bool:
        return (self.up.shape[0], self.down.shape[1], *self.mid.shape[2:]) == tuple(shape)

    def thin(self, dyn: int | None) -> tuple[torch.Tensor, torch.Tensor]:
        """(O, rank) and (rank, I k k): the kernel multiplied into `down` once."""
        del dyn  # the ancestor cuts plain LoRA only, and pictures were made with that
        return self.up, self._core

    @cached_property
    def _core(self) -> torch.Tensor:
        return torch.einsum("rskl,si->rikl", self.mid.float(), self.down.float()).flatten(1)

    def delta(self, original: torch.Tensor, gain: float, dyn: int | None) -> torch.Tensor:
        up, core = (on(matrix, original) for matrix in self.thin(dyn))
        return (up * gain) @ core


def tucker(core: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """(r, s, k, k), (r, O), (s, I) -> (O, I, k, k): the core seen through both matrices (Tucker 1966)."""
    return torch.einsum("rskl,ro,si->oikl", core, rows, columns)
