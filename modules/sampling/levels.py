"""The noise levels that a model was trained at, and what lies between them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

LCM_STRIDE = 20  # latent consistency models are distilled at 50 of the 1000 timesteps


@dataclass(frozen=True, eq=False)
class NoiseLevels:
    """Timesteps and their sigmas, both rising. Between two of them log(sigma) is linear in the timestep.

    sigma is the noise's standard deviation where the picture keeps its scale (Karras et al. 2022, arXiv:2206.00364).
    """

    timesteps: np.ndarray
    log_sigmas: np.ndarray
    whole: bool = False
    """True where the model takes none but these timesteps: others are moved to the nearest."""

    @classmethod
    def of_model(cls, alphas_cumprod: torch.Tensor) -> NoiseLevels:
        """Those of a model trained at `alphas_cumprod` (T,): the share of signal left at each timestep."""
        alphas = alphas_cumprod.detach().double().cpu().numpy()
        return cls(np.arange(len(alphas), dtype=np.float64), np.log((1 - alphas) / alphas) / 2)

    def for_consistency(self) -> NoiseLevels:
        """Every 20th of these: those of a latent consistency model (Luo et al. 2023, arXiv:2310.04378)."""
        kept = slice(LCM_STRIDE - 1, None, LCM_STRIDE)
        return NoiseLevels(self.timesteps[kept], self.log_sigmas[kept], whole=True)

    def __len__(self) -> int:
        return len(self.timesteps)

    @property
    def sigma_min(self) -> float:
        return math.exp(self.log_sigmas[0])

    @property
    def sigma_max(self) -> float:
        return math.exp(self.log_sigmas[-1])

    def timestep(self, sigma: float) -> float:
        """The timestep at which a sigma > 0 is the noise level, not rounded to a whole one; clamped to the range."""
        log_sigma = math.log(sigma)
        if self.whole:
            return float(self.timesteps[np.abs(self.log_sigmas - log_sigma).argmin()])
        return float(np.interp(log_sigma, self.log_sigmas, self.timesteps))

    def sigma(self, timestep: float) -> float:
        """The noise level at a timestep, clamped to the range."""
        return math.exp(np.interp(timestep, self.timesteps, self.log_sigmas))
