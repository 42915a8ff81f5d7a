"""Masks of what has changed: which of a picture's own pixels may stay after soft inpainting, as in A1111.

A part that hardly changed is shown as it was; the mask only leans on that decision. All arrays are (h, w) float.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

OPAQUE = 255
BLUR = 4
"""Pixels; it takes away the steps of latents."""
REACH, SPREAD = 2, 1.5
"""Of the window that distances are looked at through, in latents: a Gaussian that ends at its rim."""
LOUDEST, MIDDLE = (0.9, 1.0), (0.25, 0.75)
"""Which of the distances in a window count: single latents that changed much first grow, then are evened out."""
LEAST = 1.0
"""How much weight is averaged over at least."""


def changed_mask(
    distance: np.ndarray,
    mask: np.ndarray,
    size: tuple[int, int],
    *,
    preservation: float,
    influence: float,
    threshold: float,
    contrast: float,
) -> Image.Image:
    """The "L" mask, of `size` in pixels, of what is shown anew.

    `distance` is how far each latent is from the original's, `mask` in [0, 1] how much of it was to be made anew.
    A distance of `threshold`, as far as the mask does not move it, is half new.
    """
    kept = 1 - mask.clip(0, 1) ** (preservation / 2)
    leaning = 0.5 * (1 - influence) + kept * influence
    halfway = threshold * leaning / (1.00001 - leaning)
    seen = window_mean(window_mean(distance.astype(np.float64), *LOUDEST), *MIDDLE)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.nan_to_num(seen / halfway, nan=0.0, posinf=np.inf)
    new = 1 - _smoother(1 / (1 + share**contrast))
    small = Image.fromarray((OPAQUE * new).astype(np.uint8))
    return small.resize(size, Image.Resampling.LANCZOS).filter(ImageFilter.GaussianBlur(BLUR))


def window_mean(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Each value's neighbourhood, averaged between two of its weighted quantiles: a mean, median or maximum filter.

    The window's weights are a Gaussian's; beyond the edges there is nothing.
    """
    kernel = gaussian_window()
    height, width = values.shape
    side = 2 * REACH + 1
    padded, there = np.pad(values, REACH), np.pad(np.ones_like(values), REACH)
    places = [(y, x) for y in range(side) for x in range(side)]
    stack = np.stack([padded[y : y + height, x : x + width] for y, x in places])  # (25, h, w)
    weights = np.stack([kernel[y, x] * there[y : y + height, x : x + width] for y, x in places])
    order = stack.argsort(axis=0)
    stack, weights = np.take_along_axis(stack, order, 0), np.take_along_axis(weights, order, 0)
    ends = weights.cumsum(axis=0)
    begin, end = _bounds(ends[-1], low, high)
    shares = (np.minimum(ends, end) - np.maximum(ends - weights, begin)).clip(0)
    return (stack * shares).sum(axis=0) / shares.sum(axis=0)


def _bounds(total: np.ndarray, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """What part of the stacked weights counts: from one quantile to another, but as much as LEAST."""
    begin, end = total * low, total * high
    middle = (begin + end) / 2
    is_narrow = end - begin < LEAST
    begin, end = np.where(is_narrow, middle - LEAST / 2, begin), np.where(is_narrow, middle + LEAST / 2, end)
    over = (end - total).clip(0)
    begin, end = begin - over, end - over
    under = (-begin).clip(0)
    return begin + under, end + under


def gaussian_window() -> np.ndarray:
    """(5, 5) weights: 1 in the middle, falling to 0 one latent beyond the rim."""
    steps = np.arange(-REACH, REACH + 1)
    squares = steps[:, None] ** 2 + steps**2
    rim = np.exp(-((REACH + 1) ** 2) / SPREAD**2)
    return ((np.exp(-squares / SPREAD**2) - rim) / (1 - rim)).clip(0)


def _smoother(x: np.ndarray) -> np.ndarray:
    """A curve from 0 to 1 that begins and ends level (Perlin 2002)."""
    return x**3 * (x * (6 * x - 15) + 10)
