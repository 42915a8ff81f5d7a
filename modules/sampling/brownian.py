"""A Brownian path that can be asked for its increment over any time, in any order.

The virtual Brownian tree (Li et al. 2020, arXiv:2001.01328; Kidger et al. 2021, arXiv:2105.13493): halve the interval
again and again, and split the increment of each half from that of the whole with noise from a seed of its own. The
numbers are those of torchsde's `BrownianTree` to the last bit, on which pictures made with the DPM++ SDE samplers
depend; here the normal numbers are handed in, so that they need not depend on the device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

DIGITS = 6  # times are told apart to six decimals
POOL = 24  # words of entropy that numpy mixes, as torchsde asks for
MEMORY = 64  # splits kept: those of the ways down to two times, and a few more

Draw = Callable[[int], torch.Tensor]


@dataclass(frozen=True)
class _Interval:
    """A node of the tree: `key` says which of those at its depth."""

    start: float
    end: float
    key: int = 0
    depth: int = 0

    @property
    def middle(self) -> float:
        return round((self.start + self.end) / 2, DIGITS)

    def halves(self) -> tuple[_Interval, _Interval]:
        middle, key, depth = self.middle, 2 * self.key, self.depth + 1
        return _Interval(self.start, middle, key, depth), _Interval(middle, self.end, key + 1, depth)


class BrownianPath:
    """One path over [start, end]. `draw(seed)` gives unit normal numbers of the path's shape, always the same ones."""

    def __init__(self, start: float, end: float, entropy: int, draw: Draw) -> None:
        self._whole = _Interval(round(start, DIGITS), round(end, DIGITS))
        self._entropy, self._draw = entropy, draw
        seed = np.random.SeedSequence(entropy, pool_size=POOL).generate_state(1)[0]
        self._gained = draw(int(seed)) * math.sqrt(end - start)
        self._splits: dict[_Interval, torch.Tensor] = {}

    def unit_increment(self, time: float, other: float) -> torch.Tensor:
        """What the path gains from `time` to `other`, divided by the standard deviation of that gain, float32.

        `other` may be the earlier one, as sigmas fall; the two must differ.
        """
        spread = float(np.sqrt(np.abs(np.float32(other) - np.float32(time))))
        return (self.increment(time, other) if time < other else -self.increment(other, time)) / spread

    def increment(self, low: float, high: float) -> torch.Tensor:
        """What the path gains from `low` to `high`; a time outside the path counts as its end."""
        low, high = (min(max(round(time, DIGITS), self._whole.start), self._whole.end) for time in (low, high))
        first, *others = self._pieces(self._whole, self._gained, low, high) if low < high else [self._gained * 0]
        for piece in others:
            first = first + piece
        return first

    def _pieces(self, interval: _Interval, gained: torch.Tensor, low: float, high: float) -> Iterator[torch.Tensor]:
        """The increments of the largest intervals that make up [low, high], in order; `gained` is this one's."""
        if low <= interval.start and interval.end <= high:
            yield gained
            return
        left, right = interval.halves()
        gained_left = self._left(interval, gained)
        if low < left.end:
            yield from self._pieces(left, gained_left, low, high)
        if high > right.start:
            yield from self._pieces(right, gained - gained_left, low, high)

    def _left(self, interval: _Interval, gained: torch.Tensor) -> torch.Tensor:
        """How much of an interval's increment falls into its left half."""
        if interval in self._splits:
            return self._splits[interval]
        before, after = interval.middle - interval.start, interval.end - interval.middle
        share = 1 / (interval.end - interval.start)
        noise = self._draw(self._seed(interval)) * math.sqrt(before * after * share)
        if len(self._splits) >= MEMORY:
            del self._splits[next(iter(self._splits))]
        self._splits[interval] = gained * before * share + noise
        return self._splits[interval]

    def _seed(self, interval: _Interval) -> int:
        sequence = np.random.SeedSequence(self._entropy, spawn_key=(interval.key, interval.depth), pool_size=POOL)
        return int(sequence.generate_state(1)[0])
