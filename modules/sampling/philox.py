"""The random numbers of an NVIDIA GPU, made on any machine.

Philox 4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), read the way cuRAND and PyTorch read
it for a single draw of a small tensor, so that a seed gives the noise it would give there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
LOW_WORD = 0xFFFFFFFF
WORD = 32
TO_UNIT = 2.0**-32
TO_ANGLE = torch.tensor(2**-32 * 2 * math.pi).item()  # single precision in cuRAND

Words = torch.Tensor | int
"""One for each counter, or the same for all."""


class Philox:
    """A generator of normal numbers; each draw uses up one step of the counter, whatever its size."""

    def __init__(self, seed: int, device: torch.device | str = "cpu") -> None:
        """`device` is where the numbers are made, which they do not depend on."""
        self.seed = seed % 2**64
        self._device = torch.device(device)
        self._draws = 0

    def normal(self, shape: Sequence[int]) -> torch.Tensor:
        """float32 of `shape`, mean 0 and variance 1: one of the two numbers that each counter yields."""
        counters = torch.arange(math.prod(shape), device=self._device)
        first, second = _scrambled(self._draws, counters, self.seed)
        self._draws += 1
        return _box_muller(first, second).reshape(tuple(shape))


def _scrambled(draw: int, counters: torch.Tensor, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two words of 32 random bits, in 64, for each counter."""
    key = (seed & LOW_WORD, seed >> WORD)
    words: tuple[Words, Words, Words, Words] = (draw, 0, counters, 0)
    for turn in range(ROUNDS):
        if turn:
            key = ((key[0] + KEY_STEPS[0]) & LOW_WORD, (key[1] + KEY_STEPS[1]) & LOW_WORD)
        high0, low0 = _product(words[0], MULTIPLIERS[0])
        high1, low1 = _product(words[2], MULTIPLIERS[1])
        words = (high1 ^ words[1] ^ key[0], low1, high0 ^ words[3] ^ key[1], low0)
    first, second = words[:2]
    assert isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor)
    return first, second


def _product(words: Words, multiplier: int) -> tuple[Words, Words]:
    """The high and the low word of each product. They fit into 64 bits, the highest of which may count as a sign."""
    product = words * multiplier
    return (product >> WORD) & LOW_WORD, product & LOW_WORD


def _box_muller(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    radius = first.double() * TO_UNIT + TO_UNIT / 2
    angle = second.double() * TO_ANGLE + TO_ANGLE / 2
    return (torch.sqrt(-2 * torch.log(radius)) * torch.sin(angle)).float()
