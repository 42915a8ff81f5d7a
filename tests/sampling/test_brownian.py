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


def test_step_noise_is_the_references_bit_for_bit(golden_noise: Mapping[str, np.ndarray]) -> None:
    sigmas = [float(sigma) for sigma in golden_noise["brownian_sigmas"]]
    noise = ImageNoise([1234, 1235], (4, 8, 8), "CPU").brownian(sigmas[-2], sigmas[0])
    for (sigma, sigma_next), expected in zip(pairwise(sigmas[:-1]), golden_noise["brownian"], strict=True):
        assert np.array_equal(noise(sigma, sigma_next).numpy(), expected)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(TIMES, TIMES).map(sorted), min_size=1, max_size=20), st.integers(0, 2**63))
def test_the_path_is_torchsdes_bit_for_bit(spans: list[list[float]], entropy: int) -> None:
    tree = torchsde.BrownianTree(LOW, torch.zeros(2, 3), HIGH, entropy=entropy)
    path = BrownianPath(LOW, HIGH, entropy, _draw)
    for low, high in [(LOW, HIGH), *spans]:
        assert torch.equal(path.increment(low, high), tree(low, high))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(TIMES, TIMES).map(sorted), min_size=2, max_size=20))
def test_a_path_does_not_depend_on_the_order_of_questions(spans: list[list[float]]) -> None:
    path = BrownianPath(LOW, HIGH, 7, _draw)
    asked = [path.increment(*span) for span in spans]
    for span, increment in zip(spans, asked, strict=True):
        assert torch.equal(BrownianPath(LOW, HIGH, 7, _draw).increment(*span), increment)


@settings(deadline=None, max_examples=50)
@given(st.lists(TIMES, min_size=3, max_size=3).map(sorted))
def test_increments_add_up(times: list[float]) -> None:
    path, (first, second, third) = BrownianPath(LOW, HIGH, 3, _draw), times
    parts = path.increment(first, second) + path.increment(second, third)
    torch.testing.assert_close(path.increment(first, third), parts, rtol=0, atol=1e-5)


def test_asking_backwards_negates() -> None:
    path = BrownianPath(LOW, HIGH, 3, _draw)
    assert torch.equal(path.unit_increment(2.0, 1.0), -path.unit_increment(1.0, 2.0))


def test_unit_increments_have_unit_variance() -> None:
    paths = [BrownianPath(LOW, HIGH, seed, _draw) for seed in range(400)]
    for high, low in [(HIGH, 3.0), (3.0, 2.9), (0.05, LOW)]:
        assert torch.stack([path.unit_increment(high, low) for path in paths]).std() == pytest.approx(1, abs=0.06)


def test_a_time_outside_the_path_counts_as_its_end() -> None:
    path = BrownianPath(LOW, HIGH, 3, _draw)
    assert torch.equal(path.increment(0.0, 20.0), path.increment(LOW, HIGH))
    assert path.increment(15.0, 20.0).abs().max() == 0
