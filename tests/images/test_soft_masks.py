"""Masks of what has changed, for soft inpainting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.images.soft_masks import REACH, changed_mask, gaussian_window, window_mean

USUAL = {"preservation": 0.5, "influence": 0.0, "threshold": 0.5, "contrast": 2.0}


def plainly(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """`window_mean`, one value after the other."""
    kernel, result = gaussian_window(), np.empty_like(values)
    for y, x in np.ndindex(values.shape):
        seen = []
        for dy in range(-REACH, REACH + 1):
            for dx in range(-REACH, REACH + 1):
                if 0 <= y + dy < values.shape[0] and 0 <= x + dx < values.shape[1]:
                    seen.append((values[y + dy, x + dx], kernel[dy + REACH, dx + REACH]))
        total = sum(weight for _, weight in seen)
        begin, end = total * low, total * high
        if end - begin < 1:
            begin, end = (begin + end) / 2 - 0.5, (begin + end) / 2 + 0.5
            if end > total:
                begin, end = total - 1, total
            if begin < 0:
                begin, end = 0, 1
        reached = sums = weights = 0.0
        for value, weight in sorted(seen):
            share = max(min(end, reached + weight) - max(begin, reached), 0)
            reached, sums, weights = reached + weight, sums + value * share, weights + share
        result[y, x] = sums / weights
    return result


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 7), st.integers(1, 7), st.sampled_from([(0.9, 1.0), (0.25, 0.75), (0.0, 1.0), (0.0, 0.1)]))
def test_windows_are_averaged_between_their_quantiles(height: int, width: int, part: tuple[float, float]) -> None:
    values = np.random.default_rng(height * 8 + width).random((height, width))
    assert window_mean(values, *part) == pytest.approx(plainly(values, *part))


def test_the_window_is_one_in_the_middle_and_falls_to_the_rim() -> None:
    window = gaussian_window()
    assert window.shape == (5, 5) and window[2, 2] == 1
    assert window[2, 0] > 0 and np.array_equal(window, window[::-1, ::-1])
    assert (np.diff(window[2, :3]) > 0).all()


def test_what_did_not_change_is_kept_and_what_changed_much_is_new() -> None:
    distance = np.zeros((16, 16))
    distance[:, 8:] = 50
    shown = np.asarray(changed_mask(distance, np.ones((16, 16)), (128, 128), **USUAL))
    assert shown.shape == (128, 128)
    assert shown[:, :24].max() <= 5 and shown[:, 104:].min() >= 250


def test_a_higher_threshold_keeps_more() -> None:
    distance, mask = np.full((8, 8), 0.5), np.ones((8, 8))
    shown = [
        np.asarray(changed_mask(distance, mask, (64, 64), **USUAL | {"threshold": threshold})).mean()
        for threshold in (0.1, 0.5, 2.0)
    ]
    assert shown[0] > shown[1] > shown[2]
    assert shown[1] == pytest.approx(127.5, abs=2)  # the threshold itself is half new


def test_the_mask_decides_where_it_has_all_the_influence() -> None:
    distance, mask = np.ones((16, 16)), np.zeros((16, 16))
    mask[:, 8:] = 1
    shown = np.asarray(changed_mask(distance, mask, (128, 128), **USUAL | {"influence": 1.0}))
    assert shown[:, :24].max() <= 5 and shown[:, 104:].min() >= 250


def test_no_threshold_at_all_shows_whatever_changed() -> None:
    distance = np.zeros((16, 16))
    distance[8:] = 1e-3
    shown = np.asarray(changed_mask(distance, np.ones((16, 16)), (128, 128), **USUAL | {"threshold": 0.0}))
    assert shown[:24].max() <= 5 and shown[104:].min() >= 250
