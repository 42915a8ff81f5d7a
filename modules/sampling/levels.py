"""The noise levels that a model was trained at, and what lies between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

LCM_STRIDE = 20  # latent consistency models are distilled at 50 of the 1000 timesteps


@dataclass(frozen=True, eq=False)
class NoiseLevels:
    """The sigmas, rising, of timesteps that are `stride` apart. Between two of them log(sigma) is linear in time.

    sigma is the noise's standard deviation where the picture keeps its scale (Karras et al. 2022, arXiv:2206.00364).
    In float32 throughout: a path of Brownian noise tells apart sigmas that differ in the last bit.
    """

    sigmas: torch.Tensor
    """(levels,) float32 on the CPU."""
    first: int = 0
    """The timestep of the lowest."""
    stride: int = 1

    @classmethod
    def of_model(cls, alphas_cumprod: torch.Tensor) -> NoiseLevels:
        """Those of a model trained at `alphas_cumprod` (T,): the share of signal left at each timestep."""
        alphas = alphas_cumprod.detach().to("cpu", torch.float32)
        return cls(((1 - alphas) / alphas) ** 0.5)

    def for_consistency(self) -> NoiseLevels:
        """Every 20th of these: those of a latent consistency model (Luo et al. 2023, arXiv:2310.04378)."""
        return NoiseLevels(self.sigmas[LCM_STRIDE - 1 :: LCM_STRIDE], LCM_STRIDE - 1, LCM_STRIDE)

    def __len__(self) -> int:
        return len(self.sigmas)

    @property
    def sigma_min(self) -> float:
        return self.sigmas[0].item()

    @property
    def sigma_max(self) -> float:
        return self.sigmas[-1].item()

    @property
    def last(self) -> int:
        """The timestep of the highest sigma."""
        return self.first + (len(self) - 1) * self.stride

    def timestep(self, sigma: float) -> float:
        """The timestep whose noise level is `sigma` > 0, clamped to the range; not a whole one as a rule.

        A consistency model knows no timesteps between its own: it gets the nearest.
        """
        rising, log_sigma = np.log(self.sigmas.double().numpy()), np.log(sigma)
        if self.stride > 1:
            index = float(np.abs(rising - log_sigma).argmin())
        else:
            index = float(np.interp(log_sigma, rising, np.arange(len(self))))
        return self.first + index * self.stride

    def at(self, timesteps: torch.Tensor) -> torch.Tensor:
        """The noise levels at float32 timesteps of any shape, clamped to the range."""
        index = ((timesteps - self.first) / self.stride).clamp(0, len(self) - 1)
        low, high, share = index.floor().long(), index.ceil().long(), index.frac()
        log_sigmas = self.sigmas.log()
        return ((1 - share) * log_sigmas[low] + share * log_sigmas[high]).exp()
