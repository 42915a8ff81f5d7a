"""UniPC: a predictor of any order, corrected by what the model says at its end (Zhao et al. 2023, arXiv:2302.04867).

Multistep, predicting x0. Every step is x_t = sigma_t / sigma_0 x_0 - alpha_t (e^-h - 1) m_0 - alpha_t sum_k w_k D_k,
where m are the pictures seen, D_k = (m_k - m_0) / r_k their changes, and the variants differ in the weights w.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from modules.sampling.continuous import ContinuousLevels
from modules.sampling.denoisers import PredictNoise
from modules.sampling.options import UniPCSkip, UniPCVariant

from .step import Step, StepNoise


def unipc(
    predict_noise: PredictNoise,
    x: torch.Tensor,
    timesteps: Sequence[int],
    alphas_cumprod: torch.Tensor,
    noise: StepNoise,
    *,
    from_picture: bool = False,
    variant: UniPCVariant = "bh1",
    skip_type: UniPCSkip = "time_uniform",
    order: int = 3,
    lower_order_final: bool = True,
) -> Iterator[Step]:
    """Walk x down to the model's first timestep, in its own range, in as many steps as there are timesteps.

    Their spacing is `skip_type`'s; with `from_picture` the first of them is where it starts, else the model's last.
    Deterministic, `noise` is not asked. The order is never more than the number of steps.
    """
    levels, n = ContinuousLevels(alphas_cumprod), len(timesteps)
    if n == 0:
        return
    start = torch.tensor(timesteps[0]) / len(alphas_cumprod) + levels.first if from_picture else 1.0
    times = levels.times(skip_type, start, n)
    order = min(order, n)

    def see(x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        return (x - levels.sigma(time) * predict_noise(x, levels.timestep(time))) / levels.alpha(time)

    seen = [see(x, times[0])]  # the newest first
    for number in range(1, n + 1):
        now = min(number, order)
        if lower_order_final and number >= order:
            now = min(order, n + 1 - number)
        update = _Update.between(levels, times[: number + 1].flip(0), seen, now)
        ahead = update.predicted(x, variant)
        if number == n:
            yield Step(n - 1, ahead, ahead)
            return
        picture = see(ahead, times[number])
        x = update.corrected(x, picture, variant)
        seen = [picture, *seen][:order]
        yield Step(number - 1, x, picture)


@dataclass(frozen=True, eq=False)
class _Update:
    """A step of some order, from the newest picture seen."""

    shrink: torch.Tensor
    """sigma_t / sigma_0."""
    alpha: torch.Tensor
    """alpha_t."""
    h: torch.Tensor
    """-h: minus the width of the step in lambda."""
    ratios: torch.Tensor
    """(order,): r_k of the pictures before the newest, and 1 for the one at the end of the step."""
    newest: torch.Tensor
    changes: Sequence[torch.Tensor]
    """D_k of the pictures before the newest."""

    @classmethod
    def between(
        cls, levels: ContinuousLevels, times: torch.Tensor, seen: Sequence[torch.Tensor], order: int
    ) -> _Update:
        """`times`: where the step ends, where it starts, and those before."""
        log_snrs = levels.log_snr(times)
        h = log_snrs[0] - log_snrs[1]
        ratios = (log_snrs[2 : order + 1] - log_snrs[1]) / h
        return cls(
            shrink=levels.sigma(times[0]) / levels.sigma(times[1]),
            alpha=levels.alpha(times[0]),
            h=-h,
            ratios=torch.cat([ratios, torch.ones(1)]),
            newest=seen[0],
            changes=[(picture - seen[0]) / ratio for picture, ratio in zip(seen[1:order], ratios, strict=True)],
        )

    def predicted(self, x: torch.Tensor, variant: UniPCVariant) -> torch.Tensor:
        base = self._unchanged(x)
        if not self.changes:
            return base
        if variant == "vary_coeff":
            return self._varying(base)
        scale = self._scale(variant)
        return base - self.alpha * scale * self._weighed(self._fixed(scale, corrects=False))

    def corrected(self, x: torch.Tensor, picture: torch.Tensor, variant: UniPCVariant) -> torch.Tensor:
        base, change = self._unchanged(x), picture - self.newest
        if variant == "vary_coeff":
            return self._varying(base, change)
        scale = self._scale(variant)
        weights = self._fixed(scale, corrects=True)
        last = weights[-1] * change
        changes = self._weighed(weights[:-1]) + last if self.changes else last
        return base - self.alpha * scale * changes

    def _unchanged(self, x: torch.Tensor) -> torch.Tensor:
        """Where x goes if the picture stays as it is."""
        return self.shrink * x - self.alpha * self.h.expm1() * self.newest

    def _weighed(self, weights: torch.Tensor) -> torch.Tensor:
        """The sum of the changes; as one product, whose rounding is the authors'."""
        return torch.einsum(
            "k,bkchw->bchw", weights.to(self.newest, non_blocking=True), torch.stack(list(self.changes), dim=1)
        )

    def _scale(self, variant: UniPCVariant) -> torch.Tensor:
        """B(h) = h ("bh1") or e^h - 1 ("bh2")."""
        return self.h if variant == "bh1" else self.h.expm1()

    def _fixed(self, scale: torch.Tensor, *, corrects: bool) -> torch.Tensor:
        """The weights for a B(h): (order,) to correct, one fewer to predict (eq. 6)."""
        order = len(self.ratios)
        count = order if corrects else order - 1
        if count == 1:  # what the solution of one equation tends to as h goes to 0, as in the authors' code
            return torch.tensor([0.5])
        right = torch.stack([phi * math.factorial(k) / scale for k, phi in enumerate(self._phis(order)[1:], 1)])
        powers = torch.stack([self.ratios**k for k in range(order)])
        return torch.linalg.solve(powers[:count, :count], right[:count])

    def _varying(self, base: torch.Tensor, end: torch.Tensor | None = None) -> torch.Tensor:
        """x by weights that depend on the ratios (appendix C), corrected if the change at the `end` is known.

        That change counts as the authors' code has it: by the last row but one of the inverse.
        """
        order, known = len(self.ratios), len(self.changes)
        columns = [torch.ones_like(self.ratios)]
        for k in range(2, order + 1):
            columns.append(columns[-1] * self.ratios / k)
        system = torch.stack(columns, dim=1)
        inverse = torch.linalg.inv(system[:known, :known] if end is None else system)
        phis = self._phis(order)
        for row in range(known):
            base = base - self.alpha * phis[row + 1] * self._weighed(inverse[row, :known])
        if end is None:
            return base
        return base - self.alpha * phis[order] * (end * inverse[max(known - 1, 0), -1])

    def _phis(self, order: int) -> list[torch.Tensor]:
        """h phi_k(h) for k = 1 ... order + 1, where phi_1 = (e^h - 1) / h and phi_k+1 = (phi_k - 1 / k!) / h."""
        phis = [self.h.expm1()]
        for k in range(1, order + 1):
            phis.append(phis[-1] / self.h - 1 / math.factorial(k))
        return phis
