"""The beta distribution's quantiles, to double precision."""

from __future__ import annotations

import math

import numpy as np

ROUNDS = 100
TERMS = 1_000
TINY = 1e-300
EPSILON = 1e-15
NEAR = 1e-13


def beta_quantile(shares: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    """x in [0, 1] below which the `shares` (n,) of the distribution lie: the inverse of `beta_share`.

    By Newton's method, and by halving the interval where that leads out of it.
    """
    low, high = np.zeros(shares.shape), np.ones(shares.shape)
    x = np.full(shares.shape, alpha / (alpha + beta))
    for _ in range(ROUNDS):
        missing = shares - beta_share(x, alpha, beta)
        low, high = np.where(missing > 0, x, low), np.where(missing > 0, high, x)
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            ahead = x + missing / np.exp(_log_density(x, alpha, beta))
        inside = (ahead > low) & (ahead < high)
        moved = np.where(inside, ahead, (low + high) / 2)
        if (np.abs(moved - x) <= NEAR * x).all():
            break
        x = moved
    return np.where(shares <= 0, 0.0, np.where(shares >= 1, 1.0, x))


def beta_share(x: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    """The share of the distribution below x (n,): the regularised incomplete beta function I_x(alpha, beta)."""
    # The continued fraction converges fast below the mean only (DLMF 8.17.4).
    mirrored = x > (alpha + 1) / (alpha + beta + 2)
    lower = _below_the_mean(np.where(mirrored, 0.0, x), alpha, beta)
    upper = 1 - _below_the_mean(np.where(mirrored, 1 - x, 0.0), beta, alpha)
    return np.where(mirrored, upper, lower)


def _below_the_mean(x: np.ndarray, a: float, b: float) -> np.ndarray:
    front = x * (1 - x) / a * np.exp(_log_density(x, a, b))
    return np.where(x > 0, front * _continued_fraction(x, a, b), 0.0)


def _log_density(x: np.ndarray, a: float, b: float) -> np.ndarray:
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    return scale + (a - 1) * np.log(np.maximum(x, TINY)) + (b - 1) * np.log(np.maximum(1 - x, TINY))


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
