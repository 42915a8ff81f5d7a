"""The kinds of change that a LoRA file can make to one weight, and the rule that they share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Protocol, Self

import torch

Parts = Mapping[str, torch.Tensor]
"""The tensors of one layer by what they are, as `names.PARTS` calls them."""

LARGEST = torch.finfo(torch.float32).max
MAX_RANK = 8192
"""No layer of any model this is made for is wider, so a higher rank says nothing that a full difference would not."""


class Misshapen(ValueError):
    """Tensors of one layer that do not belong together; says which and their shapes."""


class Change(Protocol):
    """A difference to one weight, kept as the few numbers that the file holds."""

    takes: ClassVar[frozenset[str]]
    """The parts that it reads."""

    @classmethod
    def claims(cls, parts: Parts) -> bool:
        """Whether the parts are of this kind, whole or not."""

    @classmethod
    def from_parts(cls, parts: Parts) -> Self:
        """The change that `parts` describe. Raises Misshapen."""

    def fits(self, shape: torch.Size) -> bool:
        """Whether a weight of this shape can be changed by it."""

    @property
    def rank(self) -> int | None:
        """What `alpha` is divided by, or None where alpha has no say."""

    def delta(self, original: torch.Tensor, gain: float, dyn: int | None) -> torch.Tensor:
        """`gain` times the difference, float32, in the order of `original`'s numbers but perhaps in another shape.

        `dyn` keeps only so many of the ranks of a plain LoRA.
        """


def on(tensor: torch.Tensor, original: torch.Tensor) -> torch.Tensor:
    """The tensor as float32 on the device of the weight that it changes."""
    return tensor.to(original.device, torch.float32)


def single(number: float) -> float:
    """The number as float32 can hold it: infinite where it is too large, which PyTorch would refuse to scale by."""
    return number if abs(number) <= LARGEST else math.copysign(math.inf, number)


def flat(tensor: torch.Tensor) -> torch.Tensor:
    """A convolution's weight as a matrix: (O, I, k, k) -> (O, I k k). Raises Misshapen for a row of numbers."""
    check(tensor.dim() >= 2, "matrices and kernels are expected", tensor)
    return tensor.flatten(1)


def check(holds: bool, what: str, *tensors: torch.Tensor) -> None:
    """Raises Misshapen with the shapes of `tensors` unless `holds`."""
    if not holds:
        raise Misshapen(f"{what}: {', '.join(str(list(tensor.shape)) for tensor in tensors)}")


def check_rank(rank: int) -> int:
    """The rank. Raises Misshapen where it is none that training could have made."""
    if not 0 < rank <= MAX_RANK:
        raise Misshapen(f"a rank of {rank} (at most {MAX_RANK} is read)")
    return rank
