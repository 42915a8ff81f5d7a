"""DPM-Solver++(2M) for the diffusion SDE in its other form, called Heun's (Lu et al. 2022, arXiv:2211.01095).

The change since the step before is integrated exactly, instead of taken at the midpoint.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from modules.sampling.denoisers import Denoise

from .dpmpp_2m_sde import dpmpp_2m_sde
from .step import Step, StepNoise


def heun_weight(h: torch.Tensor) -> torch.Tensor:
    """phi_2: 1 - (1 - exp(-h)) / h."""
    return (-h).expm1() / h + 1


def dpmpp_2m_sde_heun(
    denoise: Denoise,
    x: torch.Tensor,
    sigmas: torch.Tensor,
    noise: StepNoise,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> Iterator[Step]:
    """Walk x down the sigmas (n + 1,), in lambda = -log(sigma); eta=0 adds no noise."""
    return dpmpp_2m_sde(denoise, x, sigmas, noise, eta=eta, s_noise=s_noise, weight=heun_weight)
