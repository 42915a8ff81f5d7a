"""The random numbers of an NVIDIA GPU, made on any machine.

Philox 4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), read the way cuRAND and PyTorch read
it for a single draw of a small tensor, so that a seed gives the noise it would give there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

ROUNDS = 10
MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
KEY_STEPS = (np.uint32(0x9E3779B9), np.uint32(0xBB67AE85))
LOW_WORD = np.uint64(0xFFFFFFFF)
WORD = np.uint64(32)
TO_UNIT = 2.0**-32
TO_ANGLE = float(np.float32(2**-32 * 2 * math.pi))  # single precision in cuRAND


class Philox:
    """A generator of normal numbers; each draw uses up one step of the counter, whatever its size."""

    def __init__(self, seed: int) -> None:
        self.seed = seed % 2**64
        self._draws = 0

    def normal(self, shape: Sequence[int]) -> np.ndarray:
        """float32 of `shape`, mean 0 and variance 1: one of the two numbers that each counter yields."""
        count = math.prod(shape)
        counter = [np.zeros(count, np.uint32) for _ in range(4)]
        counter[0][:] = self._draws
        counter[2][:] = np.arange(count, dtype=np.uint32)
        self._draws += 1
        first, second, _, _ = _scrambled(counter, self.seed)
        return _box_muller(first, second).reshape(tuple(shape))


def _scrambled(counter: list[np.ndarray], seed: int) -> list[np.ndarray]:
    """Four words of 32 random bits for each counter."""
    key = [np.uint32(seed & 0xFFFFFFFF), np.uint32(seed >> 32)]
    words = counter
    for turn in range(ROUNDS):
        if turn:
            with np.errstate(over="ignore"):  # the key wraps around at 32 bits by design
                key = [part + step for part, step in zip(key, KEY_STEPS, strict=True)]
        high0, low0 = _product(words[0], MULTIPLIERS[0])
        high1, low1 = _product(words[2], MULTIPLIERS[1])
        words = [high1 ^ words[1] ^ key[0], low1, high0 ^ words[3] ^ key[1], low0]
    return words


def _product(words: np.ndarray, multiplier: np.uint64) -> tuple[np.ndarray, np.ndarray]:
    product = words.astype(np.uint64) * multiplier
    return (product >> WORD).astype(np.uint32), (product & LOW_WORD).astype(np.uint32)


def _box_muller(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    radius = first * TO_UNIT + TO_UNIT / 2  # float64
    angle = second * TO_ANGLE + TO_ANGLE / 2
    return (np.sqrt(-2 * np.log(radius)) * np.sin(angle)).astype(np.float32)
