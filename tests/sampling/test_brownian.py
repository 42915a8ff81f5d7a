import math
from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pytest
import torch
import torchsde
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.sampling import ImageNoise
from modules.sampling.brownian import BrownianPath

LOW, HIGH = 0.03, 14.6
TIMES = st.floats(LOW, HIGH).map(lambda time: round(time, 6))


def _draw(seed: int) -> torch.Tensor:
    return torch.randn(2, 3, generator=torch.Generator().manual_seed(seed))


def test_step_noise_is_the_references(golden_noise: Mapping[str, np.ndarray]) -> None:
    sigmas = [float(sigma) for sigma in golden_noise["brownian_sigmas"]]
    noise = ImageNoise([1234, 1235], (4, 8, 8), "CPU").brownian(sigmas[-2], sigmas[0])
    for (sigma, sigma_next), expected in zip(pairwise(sigmas[:-1]), golden_noise["brownian"], strict=True):
        np.testing.assert_allclose(noise(sigma, sigma_next).numpy(), expected, rtol=0, atol=2e-6)


def test_the_path_is_torchsdes() -> None:
    tree = torchsde.BrownianTree(LOW, torch.zeros(2, 3), HIGH, entropy=99)
    path = BrownianPath(LOW, HIGH, 99, _draw)
    for low, high in [(LOW, HIGH), (1.0, 1.25), (0.031, 14.59), (7.0, 7.001)]:
        torch.testing.assert_close(
            path.unit_increment(low, high) * math.sqrt(high - low), tree(low, high), rtol=0, atol=5e-6
        )


@settings(deadline=None)
@given(st.lists(TIMES, min_size=2, max_size=40))
def test_a_path_does_not_depend_on_the_order_of_questions(times: list[float]) -> None:
    path = BrownianPath(LOW, HIGH, 7, _draw)
    asked = [path.value(time) for time in times]
    for time, value in zip(times, asked, strict=True):
        torch.testing.assert_close(BrownianPath(LOW, HIGH, 7, _draw).value(time), value, rtol=0, atol=0)


@settings(deadline=None)
@given(TIMES, TIMES, TIMES)
def test_increments_add_up(first: float, second: float, third: float) -> None:
    path = BrownianPath(LOW, HIGH, 3, _draw)
    whole = path.value(third) - path.value(first)
    torch.testing.assert_close(
        whole, (path.value(second) - path.value(first)) + (path.value(third) - path.value(second)), rtol=0, atol=1e-12
    )


def test_asking_backwards_negates() -> None:
    path = BrownianPath(LOW, HIGH, 3, _draw)
    assert torch.equal(path.unit_increment(2.0, 1.0), -path.unit_increment(1.0, 2.0))


def test_unit_increments_have_unit_variance() -> None:
    paths = [BrownianPath(LOW, HIGH, seed, _draw) for seed in range(400)]
    for high, low in [(HIGH, 3.0), (3.0, 2.9), (0.05, LOW)]:
        assert torch.stack([path.unit_increment(high, low) for path in paths]).std() == pytest.approx(1, abs=0.06)


def test_a_time_outside_the_path_counts_as_its_end() -> None:
    path = BrownianPath(LOW, HIGH, 3, _draw)
    assert torch.equal(path.value(0.0), path.value(LOW))
    assert torch.equal(path.value(20.0), path.value(HIGH))
