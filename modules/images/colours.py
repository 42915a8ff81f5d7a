"""Giving a picture the colours of another one, its own brightness kept."""

from __future__ import annotations

import numpy as np
from PIL import Image

from .lab import lab_to_rgb, rgb_to_lab

_LUMA = np.array([0.299, 0.587, 0.114])


def match_colours(image: Image.Image, reference: Image.Image) -> Image.Image:
    """The RGB picture with the histogram of the reference in L*a*b*, and at each pixel the luminosity that it had."""
    pixels = np.asarray(image)
    matched = _with_histogram(rgb_to_lab(pixels), rgb_to_lab(np.asarray(reference)))
    return Image.fromarray(_with_luminosity(lab_to_rgb(matched), pixels))


def _with_histogram(values: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """(H, W, C) uint8, each channel's values moved to where the same share of the reference's is below them."""
    matched = np.empty_like(values)
    for channel in range(values.shape[-1]):
        source, target = values[..., channel], reference[..., channel]
        shares = np.bincount(source.ravel(), minlength=256).cumsum() / source.size
        counts = np.bincount(target.ravel(), minlength=256)
        present = np.flatnonzero(counts)
        moved = np.interp(shares, counts[present].cumsum() / target.size, present)
        matched[..., channel] = moved.astype(np.uint8)[source]
    return matched


def _with_luminosity(colours: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 colours at the luminosity of the pixels (W3C Compositing and Blending 1, section 10.4)."""
    base, light = colours / 255, (pixels / 255) @ _LUMA
    shifted = base + (light - base @ _LUMA)[..., None]
    luma = (shifted @ _LUMA)[..., None]
    low, high = shifted.min(-1, keepdims=True), shifted.max(-1, keepdims=True)
    spread = shifted - luma
    clipped = np.where(low < 0, luma + spread * luma / np.where(low < 0, luma - low, 1), shifted)
    room = np.where(high > 1, high - luma, 1)
    clipped = np.where(high > 1, luma + (clipped - luma) * (1 - luma) / room, clipped)
    return (clipped * 255).clip(0, 255).astype(np.uint8)
