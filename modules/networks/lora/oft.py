"""OFT and BOFT: small rotations of the outputs instead of a difference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import torch

from modules.networks.lora.changes import Misshapen, Parts, check, on

EPSILON = 1e-8


@dataclass(frozen=True, eq=False)
class RotationChange:
    """Each block of outputs turned by an orthogonal matrix of its own (Qiu et al. 2023, arXiv:2306.07280).

    `oft_blocks` hold what the rotations are made from by Cayley's transform; their total is bounded by alpha times the
    number of outputs where alpha is not 0. Old files (`oft_diag`) hold the matrices themselves.
    """

    takes: ClassVar = frozenset({"oft_blocks", "oft_diag", "rescale"})
    rank: ClassVar = None

    blocks: torch.Tensor
    """(number of blocks, block size, block size), each of them orthogonal."""
    rescale: torch.Tensor | None
    """One factor per output."""

    @classmethod
    def claims(cls, parts: Parts) -> bool:
        return "oft_diag" in parts or ("oft_blocks" in parts and parts["oft_blocks"].dim() == 3)

    @classmethod
    def from_parts(cls, parts: Parts) -> Self:
        are_rotations = "oft_blocks" not in parts
        blocks = parts["oft_diag" if are_rotations else "oft_blocks"]
        check(blocks.dim() == 3 and blocks.shape[1] == blocks.shape[2], "OFT blocks must be square matrices", blocks)
        outputs = blocks.shape[0] * blocks.shape[1]
        rescale = _rescale(parts, outputs=outputs)
        return cls(blocks if are_rotations else cayley(blocks, bound=_alpha(parts) * outputs), rescale)

    def fits(self, shape: torch.Size) -> bool:
        return len(shape) >= 2 and self.blocks.shape[0] * self.blocks.shape[1] == shape[0]

    def delta(self, original: torch.Tensor, gain: float, dyn: int | None) -> torch.Tensor:
        del dyn
        blocks = on(self.blocks, original)
        weight = original.reshape(*blocks.shape[:2], -1)  # (blocks, size, I k k)
        turned = (blocks.mT @ weight).reshape(original.shape)
        return (_rescaled(turned, self.rescale) - original) * gain


@dataclass(frozen=True, eq=False)
class ButterflyChange:
    """Several rounds of rotations, the outputs shuffled in between (Liu et al. 2023, BOFT, arXiv:2311.06243)."""

    takes: ClassVar = frozenset({"oft_blocks", "rescale"})
    rank: ClassVar = None

    blocks: torch.Tensor
    """(rounds, number of blocks, block size, block size), each of them orthogonal."""
    rescale: torch.Tensor | None

    @classmethod
    def claims(cls, parts: Parts) -> bool:
        return "oft_blocks" in parts and parts["oft_blocks"].dim() == 4

    @classmethod
    def from_parts(cls, parts: Parts) -> Self:
        blocks = parts["oft_blocks"]
        check(blocks.dim() == 4 and blocks.shape[2] == blocks.shape[3], "BOFT blocks must be square matrices", blocks)
        rounds, number, size = blocks.shape[:3]
        outputs = number * size
        if 0 in (rounds, size) or size % 2 or outputs % (size << (rounds - 1)):
            raise Misshapen(f"BOFT cannot shuffle {outputs} outputs in {rounds} rounds of blocks of {size}")
        return cls(cayley(blocks, bound=_alpha(parts) * outputs), _rescale(parts, outputs=outputs))

    def fits(self, shape: torch.Size) -> bool:
        return len(shape) >= 2 and self.blocks.shape[1] * self.blocks.shape[2] == shape[0]

    def delta(self, original: torch.Tensor, gain: float, dyn: int | None) -> torch.Tensor:
        del dyn
        turned = original
        for round_, rotation in enumerate(on(self.blocks, original)):
            half = (rotation.shape[-1] // 2) << round_
            shuffled = _swap(turned, 2, half).reshape(*rotation.shape[:2], -1)  # (blocks, size, I k k)
            turned = _swap((rotation @ shuffled).reshape(original.shape), half, 2)
        return (_rescaled(turned, self.rescale) - original) * gain


def cayley(blocks: torch.Tensor, *, bound: float) -> torch.Tensor:
    """Rotations from any square matrices: (1 + Q)(1 - Q)⁻¹ with Q = blocks - blocksᵀ, |Q| at most `bound` unless 0.

    In float32. Raises Misshapen where the numbers are so large that nothing is left of the 1.
    """
    skew = blocks.float() - blocks.float().mT
    if bound:
        size = skew.norm()
        skew = skew * ((size.clamp(max=bound) + EPSILON) / (size + EPSILON))
    one = torch.eye(skew.shape[-1], device=skew.device)
    inverse, faults = torch.linalg.inv_ex(one - skew)
    rotations = (one + skew) @ inverse
    is_sound = not faults.any() and bool(rotations.isfinite().all())
    check(is_sound, "OFT blocks are too large to make rotations of", blocks)
    return rotations


def _swap(weight: torch.Tensor, outer: int, inner: int) -> torch.Tensor:
    """Rows taken as (c, outer, inner) and laid out as (c, inner, outer)."""
    rows = weight.reshape(-1, outer, inner, *weight.shape[1:])
    return rows.transpose(1, 2).reshape(weight.shape)


def _alpha(parts: Parts) -> float:
    return float(parts["alpha"]) if "alpha" in parts else 0.0


def _rescale(parts: Parts, *, outputs: int) -> torch.Tensor | None:
    rescale = parts.get("rescale")
    if rescale is not None:
        check(rescale.numel() == outputs, f"rescale must be {outputs} numbers", rescale)
    return rescale


def _rescaled(weight: torch.Tensor, rescale: torch.Tensor | None) -> torch.Tensor:
    if rescale is None:
        return weight
    return weight * on(rescale, weight).reshape(-1, *(1,) * (weight.dim() - 1))
