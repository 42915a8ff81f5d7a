import numpy as np
import pytest

from modules.sampling import Philox

from .conftest import golden


@pytest.mark.parametrize("case", golden("rng.json")["philox"], ids=lambda case: f"{case['seed']}-{case['shape']}")
def test_philox_gives_the_numbers_of_the_reference_bit_for_bit(case: dict) -> None:
    numbers = Philox(case["seed"])
    first, second = numbers.normal(case["shape"]), numbers.normal(case["shape"])
    assert first.shape == tuple(case["shape"]) and first.dtype == np.float32
    assert np.array_equal(first.ravel()[:16], np.float32(case["first16"]))
    assert np.array_equal(second.ravel()[:16], np.float32(case["second_call_first16"]))
    assert first.astype(np.float64).sum() == pytest.approx(case["sum"], abs=1e-9)


def test_philox_numbers_are_normal() -> None:
    numbers = Philox(7).normal((100_000,)).astype(np.float64)
    assert abs(numbers.mean()) < 0.02
    assert abs(numbers.std() - 1) < 0.02
    assert abs((numbers**4).mean() - 3) < 0.1


def test_a_seed_beyond_64_bits_wraps_around() -> None:
    assert np.array_equal(Philox(2**64 + 5).normal((8,)), Philox(5).normal((8,)))
