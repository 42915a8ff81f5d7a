"""sRGB <-> CIE L*a*b* in 8 bits (white D65), in whole numbers as OpenCV computes them.

L is stretched from 0..100 to 0..255, a and b are counted from 128. The formulas are those of CIE 15 and IEC 61966-2-1;
the widths of the fixed-point numbers are OpenCV's, so that histograms come out the same.
"""

from __future__ import annotations

from functools import cache

import numpy as np

_TO_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
_FROM_XYZ = np.array(
    [[3.240479, -1.53715, -0.498535], [-0.969256, 1.875991, 0.041556], [0.055648, -0.204043, 1.057311]]
)
_WHITE = np.array([0.950456, 1.0, 1.088754])

_WEIGHT_BITS = 12
_LINEAR_BITS = 3  # below one step of 255
_ROOT_BITS = _WEIGHT_BITS + _LINEAR_BITS
_LINEAR_STEPS = 4096
_BASE_BITS = 14
_BASE = 1 << _BASE_BITS
_LOWEST = -8145
"""The least f(X) and f(Z) of any L, a and b."""


def rgb_to_lab(pixels: np.ndarray) -> np.ndarray:
    """(..., 3) uint8 -> (..., 3) uint8."""
    linear = _linear()[pixels].astype(np.int64)
    weights = np.rint((_TO_XYZ / _WHITE[:, None]) * (1 << _WEIGHT_BITS)).astype(np.int64)
    fx, fy, fz = np.moveaxis(_roots()[_shifted(linear @ weights.T, _WEIGHT_BITS)], -1, 0)
    one = 1 << _ROOT_BITS
    scale, offset = (116 * 255 + 50) // 100, (16 * 255 * one + 50) // 100
    lab = [scale * fy - offset, 500 * (fx - fy) + 128 * one, 200 * (fy - fz) + 128 * one]
    return _shifted(np.stack(lab, -1), _ROOT_BITS).clip(0, 255).astype(np.uint8)


def lab_to_rgb(lab: np.ndarray) -> np.ndarray:
    """(..., 3) uint8 -> (..., 3) uint8; colours that no screen shows are cut off."""
    light, a, b = np.moveaxis(lab.astype(np.int64), -1, 0)
    y, fy = (table[light] for table in _lightness())
    fx = fy + ((5 * a * 53687 + (1 << 7)) >> 13) - 128 * _BASE // 500
    fz = fy - ((b * 41943 + (1 << 4)) >> 9) + 128 * _BASE // 200 - 1
    xyz = np.stack([_cubes()[fx - _LOWEST], y, _cubes()[fz - _LOWEST]], -1)
    weights = np.rint(_FROM_XYZ * _WHITE * (1 << _WEIGHT_BITS)).astype(np.int64)
    linear = _shifted(xyz @ weights.T, _BASE_BITS).clip(0, _LINEAR_STEPS - 1)
    return _gamma()[linear]


def _shifted(values: np.ndarray, bits: int) -> np.ndarray:
    return (values + (1 << (bits - 1))) >> bits


@cache
def _linear() -> np.ndarray:
    """(256,): linear light in eighths of a step, of sRGB values."""
    value = np.arange(256) / 255
    light = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return np.rint(light * 255 * (1 << _LINEAR_BITS)).astype(np.int64)


@cache
def _roots() -> np.ndarray:
    """f(t) of L*a*b*, for linear light up to 1.5 times white."""
    t = np.arange(256 * 3 // 2 << _LINEAR_BITS) / (255 << _LINEAR_BITS)
    f = np.where(t < 216 / 24389, t * 841 / 108 + 16 / 116, np.cbrt(t))
    return np.rint(f * (1 << _ROOT_BITS)).astype(np.int64)


@cache
def _lightness() -> tuple[np.ndarray, np.ndarray]:
    """(256,) each: Y and f(Y) of the 8-bit L."""
    light = np.arange(256) * 100 / 255
    f = np.where(light <= 8, light * 27 / 24389 * 841 / 108 + 16 / 116, (light + 16) / 116)
    y = np.where(light <= 8, light * 27 / 24389, f**3)
    return np.rint(y * _BASE).astype(np.int64), np.rint(f * _BASE).astype(np.int64)


@cache
def _cubes() -> np.ndarray:
    """X or Z for each f(X) or f(Z) from the least on; whole divisions cut towards 0."""
    f = np.arange(_LOWEST, _LOWEST + _BASE * 9 // 4)
    line = np.sign(f) * (abs(f) * 108 // 841) - _BASE * 16 // 116 * 108 // 841
    return np.where(f <= 3390, line, f * f // _BASE * f // _BASE)


@cache
def _gamma() -> np.ndarray:
    """(4096,) uint8: sRGB values of linear light."""
    light = np.arange(_LINEAR_STEPS) / _LINEAR_STEPS
    value = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(value * 255).astype(np.uint8)
