"""What every sampler shares: the step it yields, and the ways to add noise on the way down.

Sigmas are 0-dim tensors of the schedule's own precision, float32 in use, and arithmetic on them stays in it: that is
what decides the last bit of A1111's pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch

StepNoise = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""`(sigma, sigma_next) -> noise` of x's shape, mean 0 and variance 1."""

STRONGEST_CHURN = 2**0.5 - 1


class Step(NamedTuple):
    """Where a run stands after a step."""

    index: int
    x: torch.Tensor
    """(B, C, H, W): the noisy picture, from which the next step starts."""
    denoised: torch.Tensor
    """(B, C, H, W): the picture the model saw in this step."""


@dataclass(frozen=True)
class Churn:
    """Noise that is added before a step, which goes further down for it (Karras et al. 2022, arXiv:2206.00364)."""

    amount: float = 0.0
    """S_churn, shared out among the steps."""
    low: float = 0.0
    high: float = float("inf")
    """Only sigmas in [low, high] are churned."""
    scale: float = 1.0
    """S_noise."""

    def up(
        self, x: torch.Tensor, sigma: torch.Tensor, sigma_next: torch.Tensor, steps: int, noise: StepNoise
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """x and its sigma after churning.

        Noise is drawn for every step, churned or not, so that the bounds do not change which noise the others get.
        """
        if self.amount == 0:
            return x, sigma
        fresh = noise(sigma, sigma_next)
        if not self.low <= sigma <= self.high:
            return x, sigma
        churned = sigma * (1 + min(self.amount / steps, STRONGEST_CHURN))
        return x + fresh * self.scale * (churned**2 - sigma**2) ** 0.5, churned


NO_CHURN = Churn()


def ancestral_step(
    sigma: torch.Tensor, sigma_next: torch.Tensor, eta: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Split a step into a deterministic part and fresh noise (Song et al. 2020, arXiv:2010.02502, eq. 16).

    Returns `(sigma_down, sigma_up)` with sigma_down² + sigma_up² = sigma_next²; eta=0 adds no noise.
    """
    if eta == 0:
        return sigma_next, torch.zeros_like(sigma_next)
    sigma_up = eta * (sigma_next**2 * (sigma**2 - sigma_next**2) / sigma**2) ** 0.5
    sigma_up = torch.minimum(sigma_next, sigma_up)
    return (sigma_next**2 - sigma_up**2) ** 0.5, sigma_up


def slope(x: torch.Tensor, sigma: torch.Tensor, denoised: torch.Tensor) -> torch.Tensor:
    """dx/dsigma along the probability-flow ODE (Karras et al. 2022, arXiv:2206.00364, eq. 3)."""
    return (x - denoised) / sigma


def log_snr(sigma: torch.Tensor) -> torch.Tensor:
    """lambda = -log(sigma), half the logarithm of the signal-to-noise ratio: the time in which DPM-Solver walks."""
    return -sigma.log()


def sigma_at(time: torch.Tensor) -> torch.Tensor:
    """The inverse of `log_snr`."""
    return (-time).exp()
