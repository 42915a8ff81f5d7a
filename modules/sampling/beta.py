"""The beta distribution's quantiles, to double precision."""

from __future__ import annotations

import math

import numpy as np

HALVINGS = 64
TERMS = 1_000
TINY = 1e-300
EPSILON = 2.0**-52


def beta_quantile(shares: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    """x in [0, 1] below which the `shares` (n,) of the distribution lie: the inverse of `beta_share`, by bisection."""
    low, high = np.zeros_like(shares, dtype=np.float64), np.ones_like(shares, dtype=np.float64)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        below = beta_share(middle, alpha, beta) < shares
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.where(shares <= 0, 0.0, np.where(shares >= 1, 1.0, (low + high) / 2))


def beta_share(x: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    """The share of the distribution below x (n,): the regularised incomplete beta function I_x(alpha, beta)."""
    # The continued fraction converges fast below the mean only (DLMF 8.17.4).
    mirrored = x > (alpha + 1) / (alpha + beta + 2)
    lower = _below_the_mean(np.where(mirrored, 0.0, x), alpha, beta)
    upper = 1 - _below_the_mean(np.where(mirrored, 1 - x, 0.0), beta, alpha)
    return np.where(mirrored, upper, lower)


def _below_the_mean(x: np.ndarray, a: float, b: float) -> np.ndarray:
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) - math.log(a)
    front = np.exp(scale + a * np.log(np.maximum(x, TINY)) + b * np.log1p(-x))
    return np.where(x > 0, front * _continued_fraction(x, a, b), 0.0)


def _continued_fraction(x: np.ndarray, a: float, b: float) -> np.ndarray:
    """1 / (1 + d1 / (1 + d2 / ...)) of DLMF 8.17.22, from the top down by Lentz's method."""
    ahead, behind = np.ones_like(x), 1 / _away_from_zero(1 + _term(1, a, b) * x)
    value = behind
    for number in range(2, TERMS):
        term = _term(number, a, b) * x
        behind = 1 / _away_from_zero(1 + term * behind)
        ahead = _away_from_zero(1 + term / ahead)
        value = value * ahead * behind
        if np.abs(ahead * behind - 1).max(initial=0.0) < EPSILON:
            break
    return value


def _term(number: int, a: float, b: float) -> float:
    m, is_odd = divmod(number, 2)
    if is_odd:
        return -(a + m) * (a + b + m) / ((a + 2 * m) * (a + 2 * m + 1))
    return m * (b - m) / ((a + 2 * m - 1) * (a + 2 * m))


def _away_from_zero(values: np.ndarray) -> np.ndarray:
    return np.where(np.abs(values) < TINY, TINY, values)
