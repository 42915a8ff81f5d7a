"""A Brownian path that can be asked for its value at any time, in any order.

The virtual Brownian tree (Li et al. 2020, arXiv:2001.01328; Kidger et al. 2021, arXiv:2105.13493): halve the interval
again and again, and draw each midpoint from a seed of its own. The numbers are those of torchsde's `BrownianTree`, on
which pictures made with the DPM++ SDE samplers depend; here the normal numbers are handed in, so that they need not
depend on the device, and sums are in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

DIGITS = 6  # times are told apart to six decimals
POOL = 24  # words of entropy that numpy mixes, as torchsde asks for
MEMORY = 32  # values kept: those of the way down to one time, and a few more

Draw = Callable[[int], torch.Tensor]


class BrownianPath:
    """One path over [start, end]. `draw(seed)` gives unit normal numbers of the path's shape, always the same ones."""

    def __init__(self, start: float, end: float, entropy: int, draw: Draw) -> None:
        self._start, self._end = round(start, DIGITS), round(end, DIGITS)
        self._entropy, self._draw = entropy, draw
        seed = np.random.SeedSequence(entropy, pool_size=POOL).generate_state(1)[0]
        whole = draw(int(seed)).double() * math.sqrt(end - start)
        self._values = {self._start: torch.zeros_like(whole), self._end: whole}

    def unit_increment(self, time: float, other: float) -> torch.Tensor:
        """float32: what the path gains from `time` to `other`, divided by the standard deviation of that gain.

        `other` may be the earlier one, as sigmas fall; the two must differ.
        """
        low, high = sorted((time, other))
        gained = self.value(high) - self.value(low)
        return (gained / math.sqrt(high - low)).float() * (1 if time <= other else -1)

    def value(self, time: float) -> torch.Tensor:
        """The path at `time`, float64; zero at the start."""
        time = min(max(round(time, DIGITS), self._start), self._end)
        if time in self._values:
            return self._values[time]
        start, end, key, depth = self._start, self._end, 0, 0
        at_start, at_end = self._values[start], self._values[end]
        while True:
            middle = round((start + end) / 2, DIGITS)
            at_middle = self._values.get(middle)
            if at_middle is None:
                share, spread = (middle - start) / (end - start), (middle - start) * (end - middle) / (end - start)
                noise = self._draw(self._seed(key, depth)) * math.sqrt(spread)
                at_middle = self._keep(middle, at_start + (at_end - at_start) * share + noise)
            if time == middle:
                return at_middle
            key, depth = 2 * key + (time > middle), depth + 1
            if time < middle:
                end, at_end = middle, at_middle
            else:
                start, at_start = middle, at_middle

    def _seed(self, key: int, depth: int) -> int:
        sequence = np.random.SeedSequence(self._entropy, spawn_key=(key, depth), pool_size=POOL)
        return int(sequence.generate_state(1)[0])

    def _keep(self, time: float, value: torch.Tensor) -> torch.Tensor:
        if len(self._values) >= MEMORY + 2:
            oldest = next(kept for kept in self._values if kept not in (self._start, self._end))
            del self._values[oldest]
        self._values[time] = value
        return value
