from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.params import SCHEDULES as NAMED
from modules.params import UnknownName
from modules.sampling import SCHEDULES, NoiseLevels, ddim_timesteps, sigmas

LABELS = [schedule.label for schedule in NAMED]
COUNTS = (1, 2, 5, 8, 10, 11, 12, 20, 30)
SD1 = NoiseLevels.of_model(torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000).double() ** 2, 0))


@pytest.fixture
def levels(alphas_cumprod: torch.Tensor) -> NoiseLevels:
    return NoiseLevels.of_model(alphas_cumprod)


def test_every_schedule_that_has_a_name_has_a_function() -> None:
    assert set(LABELS) == set(SCHEDULES)


def test_the_models_levels_are_the_references(levels: NoiseLevels, golden_sigmas: Mapping[str, np.ndarray]) -> None:
    assert np.array_equal(levels.sigmas.numpy(), golden_sigmas["model_sigmas"])


@pytest.mark.parametrize("n", COUNTS)
@pytest.mark.parametrize("schedule", NAMED, ids=lambda schedule: schedule.name)
def test_a_schedule_is_the_references_bit_for_bit(schedule, n: int, levels: NoiseLevels, golden_sigmas) -> None:
    assert np.array_equal(sigmas(schedule.label, n, levels), golden_sigmas[f"{schedule.name}/{n}"])


@pytest.mark.parametrize("label", LABELS)
@settings(deadline=None)
@given(n=st.integers(1, 400))
def test_a_schedule_falls_from_the_highest_level_to_zero(label: str, n: int) -> None:
    path = sigmas(label, n, SD1)
    assert len(path) == n + 1
    assert path[0] == pytest.approx(SD1.sigma_max)
    assert path[-1] == 0
    assert all(high > low for high, low in pairwise(path))


@settings(deadline=None)
@given(st.floats(0, 999))
def test_sigma_and_timestep_are_inverse(timestep: float) -> None:
    assert SD1.timestep(SD1.at(torch.tensor(timestep)).item()) == pytest.approx(timestep, abs=2e-3)


def test_a_consistency_model_is_only_asked_at_its_own_timesteps() -> None:
    levels = SD1.for_consistency()
    assert len(levels) == 50
    assert levels.timestep(SD1.sigmas[500].item()) == 499
    assert levels.timestep(1e9) == 999
    assert levels.timestep(1e-9) == 19


def test_an_unknown_schedule_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match='Did you mean "Karras"'):
        sigmas("Karas", 10, SD1)


def test_ddim_walks_every_hundredth_timestep_in_ten_steps() -> None:
    assert ddim_timesteps(10) == (1, 101, 201, 301, 401, 501, 601, 701, 801, 901)


@settings(deadline=None)
@given(st.integers(1, 5000))
def test_ddim_timesteps_stay_inside_the_training(steps: int) -> None:
    path = ddim_timesteps(steps)
    assert path[0] == 1
    assert path[-1] <= 999
    assert len(path) >= min(steps, 1000)
