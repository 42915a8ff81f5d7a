"""Pseudo linear multistep (Liu et al. 2022, arXiv:2202.09778, eq. 12): DDIM by a mean of the last predictions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch

from modules.sampling.denoisers import PredictNoise

from .ddim import jump
from .step import Step, StepNoise

ADAMS_BASHFORTH = ((1.0, ()), (2.0, (3, -1)), (12.0, (23, -16, 5)), (24.0, (55, -59, 37, -9)))
"""By how many predictions are known before: (divisor, weights, the newest prediction first)."""


def plms(
    predict_noise: PredictNoise,
    x: torch.Tensor,
    timesteps: Sequence[int],
    alphas_cumprod: torch.Tensor,
    noise: StepNoise,
) -> Iterator[Step]:
    """Walk x down the timesteps, in the model's own range; deterministic, `noise` is not asked.

    The first step asks the model twice, the others once; n timesteps make n - 1 steps.
    """
    before: list[torch.Tensor] = []
    for i, (t, t_next) in enumerate(pairwise(timesteps)):
        alpha, alpha_next = alphas_cumprod[t], alphas_cumprod[t_next]
        eps = predict_noise(x, t)
        if before:
            divisor, weights = ADAMS_BASHFORTH[len(before)]
            mean = sum(weight * each for weight, each in zip(weights, [eps, *before], strict=True)) / divisor
        else:
            ahead, _ = jump(x, eps, eps, alpha, alpha_next)
            mean = (eps + predict_noise(ahead, t_next)) / 2
        x, denoised = jump(x, mean, mean, alpha, alpha_next)
        before = [eps, *before][: len(ADAMS_BASHFORTH) - 1]
        yield Step(i, x, denoised)
