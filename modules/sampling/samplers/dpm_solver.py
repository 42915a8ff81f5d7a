"""The steps of DPM-Solver, of order 1 to 3 (Lu et al. 2022, arXiv:2206.00927), which DPM fast and DPM adaptive take."""

from __future__ import annotations

import torch

from modules.sampling.denoisers import Denoise

from .step import ancestral_step, log_snr, sigma_at


class SolverStep:
    """A step down from x at a time lambda = -log(sigma); what the model said is kept for steps of other orders."""

    def __init__(self, denoise: Denoise, x: torch.Tensor, time: torch.Tensor) -> None:
        self._denoise, self._x, self._time = denoise, x, time
        self._eps = self._predict(x, time)
        self._eps_third: torch.Tensor | None = None

    @property
    def denoised(self) -> torch.Tensor:
        """The picture that the model sees behind x."""
        return self._x - sigma_at(self._time) * self._eps

    def first_order(self, end: torch.Tensor) -> torch.Tensor:
        """x at `end` (eq. 3.7)."""
        return self._x - sigma_at(end) * (end - self._time).expm1() * self._eps

    def second_order(self, end: torch.Tensor) -> torch.Tensor:
        """x at `end`, by a second look halfway (algorithm 1)."""
        return self._second_order(end, 1 / 2, self._eps_after(end, 1 / 2))

    def second_order_by_third(self, end: torch.Tensor) -> torch.Tensor:
        """The same by a second look after a third, which `third_order` takes too."""
        return self._second_order(end, 1 / 3, self._third(end))

    def third_order(self, end: torch.Tensor) -> torch.Tensor:
        """x at `end`, by further looks after a third and two thirds (algorithm 2)."""
        h, r1, r2 = end - self._time, 1 / 3, 2 / 3
        change = self._third(end) - self._eps
        between = self._time + r2 * h
        sigma = sigma_at(between)
        x = self._x - sigma * (r2 * h).expm1() * self._eps
        x = x - sigma * (r2 / r1) * ((r2 * h).expm1() / (r2 * h) - 1) * change
        later_change = self._predict(x, between) - self._eps
        x = self._x - sigma_at(end) * h.expm1() * self._eps
        return x - sigma_at(end) / r2 * (h.expm1() / h - 1) * later_change

    def _second_order(self, end: torch.Tensor, r: float, later: torch.Tensor) -> torch.Tensor:
        h = end - self._time
        x = self._x - sigma_at(end) * h.expm1() * self._eps
        return x - sigma_at(end) / (2 * r) * h.expm1() * (later - self._eps)

    def _third(self, end: torch.Tensor) -> torch.Tensor:
        if self._eps_third is None:
            self._eps_third = self._eps_after(end, 1 / 3)
        return self._eps_third

    def _eps_after(self, end: torch.Tensor, r: float) -> torch.Tensor:
        """The noise seen after the share r of the way to `end`."""
        h = end - self._time
        between = self._time + r * h
        return self._predict(self._x - sigma_at(between) * (r * h).expm1() * self._eps, between)

    def _predict(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        sigma = sigma_at(time)
        return (x - self._denoise(x, sigma)) / sigma


def noisy_end(
    time: torch.Tensor, end: torch.Tensor, last: torch.Tensor, eta: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The time to step to so that noise brings x back to `end`, never beyond `last`; and that noise's sigma."""
    if eta == 0:
        return end, torch.zeros_like(end)
    sigma_down, _ = ancestral_step(sigma_at(time), sigma_at(end), eta)
    target = torch.minimum(last, log_snr(sigma_down))
    return target, (sigma_at(end) ** 2 - sigma_at(target) ** 2) ** 0.5
