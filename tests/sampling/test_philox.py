import numpy as np
import pytest
import torch

from modules.sampling import Philox

from .conftest import golden


@pytest.mark.parametrize("case", golden("rng.json")["philox"], ids=lambda case: f"{case['seed']}-{case['shape']}")
def test_philox_gives_the_numbers_of_the_reference_bit_for_bit(case: dict) -> None:
    numbers = Philox(case["seed"])
    first, second = (numbers.normal(case["shape"]).numpy() for _ in range(2))
    assert first.shape == tuple(case["shape"]) and first.dtype == np.float32
    assert np.array_equal(first.ravel()[:16], np.float32(case["first16"]))
    assert np.array_equal(second.ravel()[:16], np.float32(case["second_call_first16"]))
    assert first.astype(np.float64).sum() == pytest.approx(case["sum"], abs=1e-9)


def test_philox_numbers_are_normal() -> None:
    numbers = Philox(7).normal((100_000,)).double()
    assert abs(numbers.mean()) < 0.02
    assert abs(numbers.std() - 1) < 0.02
    assert abs((numbers**4).mean() - 3) < 0.1


def test_a_seed_beyond_64_bits_wraps_around() -> None:
    assert torch.equal(Philox(2**64 + 5).normal((8,)), Philox(5).normal((8,)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_the_numbers_do_not_depend_on_where_they_are_made() -> None:
    here, there = Philox(5), Philox(5, "cuda")
    for _ in range(2):
        torch.testing.assert_close(there.normal((4, 64, 64)).cpu(), here.normal((4, 64, 64)), rtol=0, atol=1e-6)
