"""Denoising diffusion implicit models (Song et al. 2020, arXiv:2010.02502, eq. 12)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch

from modules.sampling.denoisers import PredictNoise

from .step import Step, StepNoise


def ddim(
    predict_noise: PredictNoise,
    x: torch.Tensor,
    timesteps: Sequence[int],
    alphas_cumprod: Sequence[float],
    noise: StepNoise,
    *,
    eta: float = 0.0,
) -> Iterator[Step]:
    """Walk x down the timesteps, in the model's own range; eta=0 adds no noise, eta=1 is DDPM.

    It ends at the noise level of the last timestep, where it does not call the model: n timesteps make n - 1 steps.
    """
    for i, (t, t_next) in enumerate(pairwise(timesteps)):
        alpha, alpha_next = alphas_cumprod[t], alphas_cumprod[t_next]
        eps = predict_noise(x, t)
        denoised = (x - eps * math.sqrt(1 - alpha)) / math.sqrt(alpha)
        sigma = eta * math.sqrt((1 - alpha_next) / (1 - alpha) * (1 - alpha / alpha_next))
        x = denoised * math.sqrt(alpha_next) + eps * math.sqrt(1 - alpha_next - sigma**2)
        if sigma > 0:
            x = x + noise(t, t_next) * sigma
        yield Step(i, x, denoised)
