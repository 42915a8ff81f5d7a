"""The noise levels of a model in continuous time, as the DPM-Solver papers write them (arXiv:2206.00927, section 2).

Time runs from 1/T, the model's first timestep, to 1, its last; alpha is the scale of the picture and sigma that of the
noise, with alpha² + sigma² = 1; lambda = log(alpha / sigma).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

from .options import UniPCSkip


@dataclass(frozen=True, eq=False)
class ContinuousLevels:
    """The levels of a model trained at `alphas_cumprod` (T,); log(alpha) is linear between its timesteps."""

    alphas_cumprod: torch.Tensor

    @cached_property
    def _log_alphas(self) -> torch.Tensor:
        return 0.5 * self.alphas_cumprod.log().float()

    @cached_property
    def _times(self) -> torch.Tensor:
        return torch.linspace(0.0, 1.0, len(self._log_alphas) + 1)[1:]

    @property
    def first(self) -> float:
        return 1 / len(self._log_alphas)

    def log_alpha(self, time: torch.Tensor) -> torch.Tensor:
        return _interpolated(time, self._times, self._log_alphas)

    def alpha(self, time: torch.Tensor) -> torch.Tensor:
        return self.log_alpha(time).exp()

    def sigma(self, time: torch.Tensor) -> torch.Tensor:
        return (1 - (2 * self.log_alpha(time)).exp()).sqrt()

    def log_snr(self, time: torch.Tensor) -> torch.Tensor:
        """lambda."""
        log_alpha = self.log_alpha(time)
        return log_alpha - 0.5 * (1 - (2 * log_alpha).exp()).log()

    def time_of(self, log_snr: torch.Tensor) -> torch.Tensor:
        """The inverse of `log_snr`."""
        log_alpha = -0.5 * torch.logaddexp(torch.zeros(1), -2 * log_snr)
        return _interpolated(log_alpha, self._log_alphas.flip(0), self._times.flip(0))

    def timestep(self, time: torch.Tensor) -> float:
        """What the model is asked at."""
        return ((time - self.first) * len(self._log_alphas)).item()

    def times(self, skip: UniPCSkip, start: torch.Tensor | float, steps: int) -> torch.Tensor:
        """(steps + 1,): from `start` down to the model's first timestep, evenly spaced in what `skip` says."""
        if skip == "time_quadratic":
            return torch.linspace(start**0.5, self.first**0.5, steps + 1) ** 2
        if skip == "logSNR":
            ends = self.log_snr(torch.tensor([float(start), self.first]))
            return self.time_of(torch.linspace(ends[0].item(), ends[1].item(), steps + 1))
        return torch.linspace(start, self.first, steps + 1)


def _interpolated(at: torch.Tensor, known: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """The values at `at` of any shape, where `known` (n,) rises; the outermost pieces go on beyond the ends."""
    low = (torch.searchsorted(known, at.contiguous()) - 1).clamp(0, len(known) - 2)
    start, end = known[low], known[low + 1]
    return values[low] + (at - start) * (values[low + 1] - values[low]) / (end - start)
