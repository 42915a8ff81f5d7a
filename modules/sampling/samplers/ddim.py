"""Denoising diffusion implicit models (Song et al. 2020, arXiv:2010.02502, eq. 12)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch

from modules.sampling.denoisers import PredictNoise

from .step import Step, StepNoise


def ddim(
    predict_noise: PredictNoise,
    x: torch.Tensor,
    timesteps: Sequence[int],
    alphas_cumprod: torch.Tensor,
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
        sigma = fresh_noise(alpha, alpha_next, eta)
        x, denoised = jump(x, eps, eps, alpha, alpha_next, sigma)
        if sigma > 0:
            x = x + noise(alpha, alpha_next) * sigma
        yield Step(i, x, denoised)


def fresh_noise(alpha: torch.Tensor, alpha_next: torch.Tensor, eta: float) -> torch.Tensor:
    """The standard deviation of the noise that a step adds (eq. 16)."""
    after = alpha_next.double()
    return eta * ((1 - after) / (1 - alpha).double() * (1 - alpha.double() / after)).sqrt()


def jump(
    x: torch.Tensor,
    eps: torch.Tensor,
    direction: torch.Tensor,
    alpha: torch.Tensor,
    alpha_next: torch.Tensor,
    sigma: torch.Tensor | float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """x at `alpha_next` without its fresh noise `sigma`, and the picture behind x (eq. 12).

    `eps` is the noise in x, `direction` the noise that goes into the next x.
    """
    rest = (1 - alpha).sqrt().to(x.dtype)
    alpha, alpha_next = alpha.to(x.dtype), alpha_next.to(x.dtype)
    sigma = torch.as_tensor(sigma, dtype=x.dtype)
    denoised = (x - rest * eps) / alpha.sqrt()
    return alpha_next.sqrt() * denoised + (1 - alpha_next - sigma**2).sqrt() * direction, denoised
