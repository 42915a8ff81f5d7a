"""DDIM under CFG++: guidance between the two predictions, not beyond them (Chung et al. 2024, arXiv:2406.08070).

Algorithm 2: the picture is guided, the noise that goes into the next x is the unconditional one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch

from .ddim import fresh_noise, jump
from .step import Step, StepNoise

PredictBoth = Callable[[torch.Tensor, float], tuple[torch.Tensor, torch.Tensor]]
"""`(x, timestep) -> the guided noise and the unconditional one`."""

GUIDANCE_SHARE = 1 / 12.5  # CFG scales of 0 to 12.5 stand for the paper's lambda of 0 to 1


def ddim_cfgpp(
    predict_both: PredictBoth,
    x: torch.Tensor,
    timesteps: Sequence[int],
    alphas_cumprod: torch.Tensor,
    noise: StepNoise,
    *,
    eta: float = 0.0,
) -> Iterator[Step]:
    """Walk x down the timesteps as `ddim` does; `predict_both` gives the guided noise and the unconditional one."""
    for i, (t, t_next) in enumerate(pairwise(timesteps)):
        alpha, alpha_next = alphas_cumprod[t], alphas_cumprod[t_next]
        guided, unconditional = predict_both(x, t)
        sigma = fresh_noise(alpha, alpha_next, eta)
        x, denoised = jump(x, guided, unconditional, alpha, alpha_next, sigma)
        if sigma > 0:
            x = x + noise(alpha, alpha_next) * sigma
        yield Step(i, x, denoised)
