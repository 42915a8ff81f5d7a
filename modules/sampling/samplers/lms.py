"""Linear multistep: a polynomial through the last slopes, integrated over the step (Adams and Bashforth).

For diffusion by K. Crowson in k-diffusion; the ODE is that of Karras et al. 2022, arXiv:2206.00364.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch

from modules.sampling.denoisers import Denoise

from .step import Step, StepNoise, slope

ORDER = 4


def lms(denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: StepNoise) -> Iterator[Step]:
    """Walk x down the sigmas (n + 1,); deterministic, `noise` is not asked."""
    slopes: list[torch.Tensor] = []
    levels = sigmas.numpy()
    for i, (sigma, _) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma)
        slopes = [slope(x, sigma, denoised), *slopes][:ORDER]
        known = levels[i::-1][: len(slopes)]
        shares = multistep_shares(known, levels[i], levels[i + 1])
        x = x + sum(share * each for share, each in zip(shares, slopes, strict=True))
        yield Step(i, x, denoised)


def multistep_shares(known: np.ndarray, start: float, end: float) -> list[float]:
    """How much each slope, known at these sigmas, counts over [start, end].

    The integrals of the Lagrange polynomials, which are 1 at one of the sigmas and 0 at the others; in float64, but for
    the differences of the sigmas.
    """
    shares = []
    for mine in known:
        others = known[known != mine]
        height = float(np.prod((mine - others).astype(np.float64)))
        integral = np.poly1d(others.astype(np.float64), r=True).integ()
        shares.append(float(integral(float(end)) - integral(float(start))) / height)
    return shares
