"""The noise levels that a model was trained at, and what lies between them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

LCM_STRIDE = 20  # latent consistency models are distilled at 50 of the 1000 timesteps


@dataclass(frozen=True, eq=False)
class NoiseLevels:
    """The sigmas, rising, of timesteps that are `stride` apart. Between two of them log(sigma) is linear in time.

    sigma is the noise's standard deviation where the picture keeps its scale (Karras et al. 2022, arXiv:2206.00364).
    Arithmetic is in the sigmas' own precision throughout, because sampling amplifies roundings: a path of Brownian
    noise tells apart sigmas that differ in the last bit, and a model timesteps that do.
    """

    sigmas: torch.Tensor
    """(levels,) on the CPU: float32, or half where the model's alphas are rounded to that."""
    first: int = 0
    """The timestep of the lowest."""
    stride: int = 1
    quantize: bool = False
    """Whether the model is asked at the nearest of its own timesteps only."""

    @classmethod
    def of_model(cls, alphas_cumprod: torch.Tensor, *, quantize: bool = False) -> NoiseLevels:
        """Those of a model trained at `alphas_cumprod` (T,): the share of signal left at each timestep."""
        alphas = on_cpu(alphas_cumprod)
        return cls(((1 - alphas) / alphas) ** 0.5, quantize=quantize)

    @classmethod
    def of_consistency_model(cls, alphas_cumprod: torch.Tensor) -> NoiseLevels:
        """Every 20th of those of `of_model`: a latent consistency model's (Luo et al. 2023, arXiv:2310.04378).

        It knows no timesteps between its own: it is asked at the nearest.
        """
        alphas = on_cpu(alphas_cumprod)[LCM_STRIDE - 1 :: LCM_STRIDE].float()
        return cls(((1 - alphas) / alphas) ** 0.5, LCM_STRIDE - 1, LCM_STRIDE, quantize=True)

    def __len__(self) -> int:
        return len(self.sigmas)

    @cached_property
    def log_sigmas(self) -> torch.Tensor:
        return self.sigmas.log()

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

    def timestep(self, sigma: torch.Tensor | float) -> float:
        """The timestep whose noise level is `sigma` > 0, clamped to the range; not a whole one unless they quantize."""
        log_sigma = torch.as_tensor(sigma, dtype=torch.float32).cpu().log()
        distances = log_sigma - self.log_sigmas
        if self.quantize:
            return float(self.first + int(distances.abs().argmin()) * self.stride)
        below = min(max(int((distances >= 0).sum()) - 1, 0), len(self) - 2)
        low, high = self.log_sigmas[below], self.log_sigmas[below + 1]
        share = ((low - log_sigma) / (low - high)).clamp(0, 1)
        return self.first + ((1 - share) * below + share * (below + 1)).item() * self.stride

    def at(self, timesteps: torch.Tensor) -> torch.Tensor:
        """The noise levels, float32, at float32 timesteps of any shape, clamped to the range."""
        index = ((timesteps - self.first) / self.stride).clamp(0, len(self) - 1)
        low, high, share = index.floor().long(), index.ceil().long(), index.frac()
        return ((1 - share) * self.log_sigmas[low] + share * self.log_sigmas[high]).exp()


def on_cpu(alphas_cumprod: torch.Tensor) -> torch.Tensor:
    """(T,): the alphas in the precision that levels are computed in: float32, or half where they are rounded to it."""
    alphas = alphas_cumprod.detach().cpu()
    return alphas if alphas.dtype == torch.float16 else alphas.float()
