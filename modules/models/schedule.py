"""How much signal is left at each timestep."""

from __future__ import annotations

import torch

TIMESTEPS = 1000
NEARLY_ZERO = 4.8973451890853435e-08
"""Signal left at the last step of a zero-terminal-SNR schedule, since sigma would be infinite at 0; A1111's number."""


def linear_schedule(start: float, end: float) -> torch.Tensor:
    """(1000,) float32: the signal left at each timestep, with noise growing linearly in its standard deviation."""
    deviations = torch.linspace(start**0.5, end**0.5, TIMESTEPS, dtype=torch.float64)
    return torch.cumprod(1 - deviations**2, dim=0).float()


def zero_terminal_snr(alphas_cumprod: torch.Tensor) -> torch.Tensor:
    """The schedule shifted and scaled so that nothing is left at its end (Lin et al. 2023, arXiv:2305.08891, alg. 1).

    The first value stays as it is; the last is `NEARLY_ZERO`.
    """
    roots = alphas_cumprod.sqrt()
    first, last = roots[0], roots[-1]
    shifted = (roots - last) * (first / (first - last))
    rescaled = shifted**2
    rescaled[-1] = NEARLY_ZERO
    return rescaled


def downcast(alphas_cumprod: torch.Tensor) -> torch.Tensor:
    """(1000,): the schedule in half precision, as A1111 before 1.7 computed; noise levels then round likewise."""
    return alphas_cumprod.half()


def usable(stored: torch.Tensor | None) -> bool:
    """Whether a file's own schedule can be sampled with: there, falling, between 1 and 0.

    In half precision too, as files have it that were converted wholly: A1111 samples with the rounded numbers, and
    its pictures differ by that. The usual schedule in bfloat16 does not fall at every step.
    """
    precise = (torch.float16, torch.float32, torch.float64)
    if stored is None or stored.dtype not in precise or stored.shape != (TIMESTEPS,):
        return False
    return bool(((stored[1:] < stored[:-1]) & (stored[1:] > 0) & (stored[:-1] < 1)).all())
