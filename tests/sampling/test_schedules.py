import math
from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import special, stats

from modules.models import downcast, zero_terminal_snr
from modules.params import SCHEDULES as NAMED
from modules.params import UnknownName
from modules.sampling import (
    SCHEDULES,
    NoiseLevels,
    SamplerOptions,
    ddim_timesteps,
    sigmas,
)
from modules.sampling.beta import beta_quantile, beta_share
from tests.rounding import assert_same_numbers

LABELS = [schedule.label for schedule in NAMED]
COUNTS = (1, 2, 5, 8, 10, 11, 12, 20, 30)
SD1_ALPHAS = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000).double() ** 2, 0)
SD1 = NoiseLevels.of_model(SD1_ALPHAS)
SHAPES = st.floats(0.01, 100)


@pytest.fixture
def levels(alphas_cumprod: torch.Tensor) -> NoiseLevels:
    return NoiseLevels.of_model(alphas_cumprod)


def test_every_schedule_that_has_a_name_has_a_function() -> None:
    """U008."""
    assert set(LABELS) == set(SCHEDULES)


def test_the_models_levels_are_the_references(levels: NoiseLevels, golden_sigmas: Mapping[str, np.ndarray]) -> None:
    assert_same_numbers(levels.sigmas.numpy(), golden_sigmas["model_sigmas"])


def test_every_schedule_of_the_reference_is_compared(golden_sigmas: Mapping[str, np.ndarray]) -> None:
    compared = {f"{schedule.name}/{n}" for schedule in NAMED for n in COUNTS}
    assert {key for key in golden_sigmas if "/" in key} == compared


@pytest.mark.parametrize("n", COUNTS)
@pytest.mark.parametrize("schedule", NAMED, ids=lambda schedule: schedule.name)
def test_a_schedule_is_the_references_bit_for_bit(schedule, n: int, levels: NoiseLevels, golden_sigmas) -> None:
    assert_same_numbers(sigmas(schedule.label, n, levels), golden_sigmas[f"{schedule.name}/{n}"])


@pytest.mark.parametrize("label", LABELS)
@settings(deadline=None, max_examples=25)
@given(n=st.integers(2, 400))
def test_a_schedule_falls_from_the_highest_level_to_zero(label: str, n: int) -> None:
    path = sigmas(label, n, SD1)
    assert path.dtype == torch.float32
    assert all(high > low for high, low in pairwise(path))
    assert path[-1] == (pytest.approx(SD1.sigma_min) if label == "KL Optimal" else 0)
    if label == "DDIM":  # starts below the highest, and has more levels where the steps leave a rest
        assert n + 1 <= len(path) <= 2 * n + 1
        assert path[0] <= SD1.sigma_max
    else:
        assert len(path) == n + 1
        assert path[0].item() == pytest.approx(SD1.sigma_max, rel=1e-4)


@pytest.mark.parametrize(
    "label", ["Karras", "Exponential", "Polyexponential", "SGM Uniform", "KL Optimal", "Normal", "Beta"]
)
def test_a_schedule_runs_between_the_levels_asked_for(label: str) -> None:
    """U010."""
    path = sigmas(label, 10, SD1, options=SamplerOptions(sigma_min=0.1, sigma_max=10.0))
    assert path[0].item() == pytest.approx(10, rel=1e-4)
    if label == "SGM Uniform":
        assert path[-2] > 0.1
    else:
        assert path[-1 if label == "KL Optimal" else -2].item() == pytest.approx(0.1, rel=1e-4)
    assert torch.equal(sigmas(label, 10, SD1, options=SamplerOptions(old_karras=True)), path)


@pytest.mark.parametrize("label", ["Automatic", "Uniform", "Align Your Steps", "Simple", "DDIM"])
def test_other_schedules_know_only_their_own_levels(label: str) -> None:
    options = SamplerOptions(sigma_min=0.1, sigma_max=10.0, rho=3.0, old_karras=True)
    assert torch.equal(sigmas(label, 10, SD1, options=options), sigmas(label, 10, SD1))


@pytest.mark.parametrize("label", LABELS)
def test_rho_shapes_the_schedules_that_have_one(label: str) -> None:
    """U010."""
    has_rho = next(schedule.rho for schedule in NAMED if schedule.label == label) is not None
    changed = sigmas(label, 10, SD1, options=SamplerOptions(rho=3.0))
    assert torch.equal(changed, sigmas(label, 10, SD1)) != has_rho


@settings(deadline=None)
@given(n=st.integers(2, 100), rho=st.floats(1, 20))
def test_karras_is_even_in_the_root_of_sigma(n: int, rho: float) -> None:
    roots = sigmas("Karras", n, SD1, options=SamplerOptions(rho=rho))[:-1].double() ** (1 / rho)
    widths = roots.diff()
    torch.testing.assert_close(widths, torch.full_like(widths, widths.mean()), rtol=1e-3, atol=1e-5)


def test_polyexponential_of_rho_1_is_exponential() -> None:
    torch.testing.assert_close(sigmas("Polyexponential", 20, SD1), sigmas("Exponential", 20, SD1), rtol=1e-6, atol=0)


def test_align_your_steps_has_levels_of_its_own_for_sdxl() -> None:
    for n in (5, 10, 11, 12, 40):
        sd1, sdxl = sigmas("Align Your Steps", n, SD1), sigmas("Align Your Steps", n, SD1, is_sdxl=True)
        assert sd1[0] == sdxl[0] and sd1[-2] == sdxl[-2]
        assert (sd1[1:-2] > sdxl[1:-2]).all()
    eleven = sigmas("Align Your Steps", 11, SD1, is_sdxl=True)
    assert eleven.tolist() == pytest.approx(
        [14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.38, 0.234, 0.113, 0.029, 0]
    )


@settings(deadline=None, max_examples=25)
@given(alpha=SHAPES, beta=SHAPES)
@example(0.6, 0.6)
@example(0.01, 100)
def test_the_beta_distribution_is_scipys(alpha: float, beta: float) -> None:
    at = np.linspace(0, 1, 33)
    np.testing.assert_allclose(beta_share(at, alpha, beta), special.betainc(alpha, beta, at), rtol=0, atol=1e-12)
    expected = stats.beta.ppf(at, alpha, beta)
    np.testing.assert_allclose(beta_quantile(at, alpha, beta), expected, rtol=0, atol=1e-9)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.floats(0.1, 10), st.floats(0.1, 10))
def test_quantile_and_share_are_inverse(shares: list[float], alpha: float, beta: float) -> None:
    at = beta_quantile(np.array(shares), alpha, beta)
    assert ((at >= 0) & (at <= 1)).all()
    inside = (at > 1e-12) & (at < 1 - 1e-12)
    np.testing.assert_allclose(beta_share(at, alpha, beta)[inside], np.array(shares)[inside], rtol=0, atol=1e-6)


@settings(deadline=None)
@given(st.floats(0, 999))
def test_sigma_and_timestep_are_inverse(timestep: float) -> None:
    assert SD1.timestep(SD1.at(torch.tensor(timestep)).item()) == pytest.approx(timestep, abs=2e-3)


def test_a_sigma_outside_the_training_is_clamped_to_it() -> None:
    for levels in (SD1, NoiseLevels.of_model(SD1_ALPHAS, quantize=True)):
        assert levels.timestep(1e9) == 999
        assert levels.timestep(1e-9) == 0


def test_a_consistency_model_is_only_asked_at_its_own_timesteps() -> None:
    levels = NoiseLevels.of_consistency_model(SD1_ALPHAS)
    assert len(levels) == 50
    assert levels.timestep(SD1.sigmas[500].item()) == 499
    assert levels.timestep(1e9) == 999
    assert levels.timestep(1e-9) == 19


def test_zero_terminal_snr_ends_in_noise_and_begins_as_before() -> None:
    """D018."""
    stretched = zero_terminal_snr(SD1_ALPHAS)
    assert stretched[0].item() == pytest.approx(SD1_ALPHAS[0].item(), rel=1e-6)
    assert all(high > low for high, low in pairwise(stretched))
    assert NoiseLevels.of_model(stretched).sigma_max == pytest.approx(4518.7627, rel=1e-5)
    roots = (stretched[:-1].sqrt() / stretched[0].sqrt()).double()
    before = SD1_ALPHAS.sqrt()
    torch.testing.assert_close(roots, ((before - before[-1]) / (before[0] - before[-1]))[:-1], rtol=0, atol=1e-6)


def test_downcast_levels_are_those_of_half_precision() -> None:
    halves = downcast(SD1_ALPHAS)
    assert halves.dtype == torch.float16
    levels = NoiseLevels.of_model(halves)
    assert levels.sigma_max == pytest.approx(SD1.sigma_max, rel=1e-2) and levels.sigma_max != SD1.sigma_max
    assert sigmas("Uniform", 10, levels).dtype == torch.float32
    assert NoiseLevels.of_model(zero_terminal_snr(halves)).sigma_max > 4000


@pytest.mark.parametrize("change", [zero_terminal_snr, downcast])
def test_levels_are_changed_in_a_copy(change) -> None:
    alphas = SD1_ALPHAS.float()
    before = alphas.clone()
    change(alphas)
    assert torch.equal(alphas, before)


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


@pytest.mark.parametrize("label", LABELS)
def test_many_steps_make_a_schedule_soon(label: str) -> None:
    path = sigmas(label, 10_000, SD1)
    assert path.isfinite().all() and len(path) >= 1000
    assert math.isclose(path[0].item(), SD1.sigma_max, rel_tol=0.01)
