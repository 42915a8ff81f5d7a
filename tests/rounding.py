"""Whether this processor rounds as the one did that the reference was drawn on.

The order of a sum, and so its last bit, differs between processors; the reference's tiny random networks make a
hundred thousand times of it within some steps. Where the bits differ, tests hold what rounding cannot excuse.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

AS_THE_REFERENCE = "ed8dc7cd43ad220e"
"""Of the results on the reference's processor, an Intel one with AVX-512."""
STRAY, STRAY_MEAN = 0.6, 0.1
"""How far latents of another processor may be off anywhere, and in the root of the mean square."""


@functools.cache
def rounds_as_the_reference() -> bool:
    """Whether the operations of which networks and schedules are made give the same bits here, on one thread."""
    return _digest() == AS_THE_REFERENCE


def assert_latents_near(found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    """Nothing, if no latent is off by more than `tolerance`, or, on another processor, than rounding explains."""
    if rounds_as_the_reference():
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)
    else:
        np.testing.assert_allclose(found, expected, rtol=0, atol=STRAY)
        assert np.sqrt(np.square(found - expected).mean()) <= STRAY_MEAN


def assert_same_numbers(found: Sequence[float] | np.ndarray, expected: Sequence[float] | np.ndarray) -> None:
    """Nothing, if the numbers are the same bits; on another processor, if they are as near as float32 can tell."""
    if rounds_as_the_reference():
        np.testing.assert_array_equal(found, expected)
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-3)


def _digest() -> str:
    draw = np.random.RandomState(0)
    shapes = ((2, 32, 16, 16), (48, 32, 3, 3))
    x, weight = (torch.from_numpy(draw.standard_normal(shape).astype(np.float32)) for shape in shapes)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        positive = x.abs() + 0.01
        rows = x.reshape(2, 64, 128)
        results = (
            *(operation(positive) for operation in (torch.log, torch.exp, torch.sqrt, torch.sin)),
            positive ** (1 / 7),
            functional.conv2d(x, weight, padding=1),
            functional.linear(rows, weight.reshape(108, 128)),
            functional.softmax(rows @ rows.mT / 8, dim=-1) @ rows,
            functional.group_norm(functional.silu(x), 8),
        )
    finally:
        torch.set_num_threads(threads)
    return hashlib.sha256(b"".join(result.numpy().tobytes() for result in results)).hexdigest()[:16]
