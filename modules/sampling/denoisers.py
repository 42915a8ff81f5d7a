"""The views of a model that samplers walk by. All make one promise: what comes back has guidance in it already.

Each view is linear in the model's output, and guidance is a sum whose weights add up to 1, so guiding the output itself
is the same as guiding what the view makes of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch

from .levels import NoiseLevels

Prediction = Literal["epsilon", "v"]
Guided = Callable[[torch.Tensor, float], torch.Tensor]
"""`(x scaled to the model's own range, timestep) -> the model's output`, guided."""
Denoise = Callable[[torch.Tensor, float], torch.Tensor]
"""`(x, sigma) -> x0`: the picture that the model sees behind noise of that strength."""
PredictNoise = Callable[[torch.Tensor, int], torch.Tensor]
"""`(x, timestep) -> eps`: the noise that the model sees in x."""

SIGMA_DATA = 0.5
LCM_TIMESTEP_SCALE = 10.0


def sigma_view(guided: Guided, levels: NoiseLevels, prediction: Prediction) -> Denoise:
    """x0 at any sigma (Karras et al. 2022, arXiv:2206.00364, table 1; v: Salimans and Ho 2022, arXiv:2202.00512)."""

    def denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
        total = sigma**2 + 1
        output = guided(x / math.sqrt(total), levels.timestep(sigma))
        if prediction == "v":
            return x / total - output * (sigma / math.sqrt(total))
        return x - output * sigma

    return denoise


def consistency_view(guided: Guided, levels: NoiseLevels, prediction: Prediction) -> Denoise:
    """x0 as a latent consistency model gives it: blended with x near the end (Luo et al. 2023, arXiv:2310.04378)."""
    plain = sigma_view(guided, levels, prediction)

    def denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
        time = levels.timestep(sigma) * LCM_TIMESTEP_SCALE
        keep = SIGMA_DATA**2 / (time**2 + SIGMA_DATA**2)
        return plain(x, sigma) * (time / math.sqrt(time**2 + SIGMA_DATA**2)) + x * keep

    return denoise


def timestep_view(guided: Guided, alphas_cumprod: Sequence[float], prediction: Prediction) -> PredictNoise:
    """The noise at whole timesteps, x in the model's own range (Ho et al. 2020, arXiv:2006.11239)."""

    def predict_noise(x: torch.Tensor, timestep: int) -> torch.Tensor:
        output = guided(x, float(timestep))
        if prediction == "v":
            alpha = alphas_cumprod[timestep]
            return output * math.sqrt(alpha) + x * math.sqrt(1 - alpha)
        return output

    return predict_noise
