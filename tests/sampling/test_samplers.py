"""Samplers against pictures whose denoiser is known exactly: independent normal numbers."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from modules.params import SAMPLERS
from modules.sampling import NoiseLevels, Step, sigmas
from modules.sampling.continuous import ContinuousLevels
from modules.sampling.course import SIGMA_SAMPLERS, TIMESTEP_SAMPLERS
from modules.sampling.samplers import (
    Churn,
    ancestral_step,
    ddim,
    ddim_cfgpp,
    dpm2,
    dpm2_ancestral,
    dpm_adaptive,
    dpm_fast,
    dpmpp_2m,
    dpmpp_2m_sde,
    dpmpp_2m_sde_heun,
    dpmpp_2s_ancestral,
    dpmpp_3m_sde,
    dpmpp_sde,
    euler,
    euler_ancestral,
    fast_orders,
    heun,
    lcm,
    lms,
    plms,
    restart,
    restart_steps,
    unipc,
)
from modules.sampling.samplers.lms import multistep_shares

Sampler = Callable[..., Iterator[Step]]
MEAN, SPREAD = 0.7, 0.5
ALPHAS = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000).double() ** 2, 0)
LEVELS = NoiseLevels.of_model(ALPHAS)


def _to_the_ends(sampler: Sampler) -> Sampler:
    """A sampler that finds its own steps, given a schedule like the others."""
    return lambda denoise, x, path, noise: sampler(denoise, x, path[[0, -1]], noise, calls=len(path) - 1)


DETERMINISTIC: dict[str, tuple[Sampler, int]] = {
    "Euler": (euler, 1),
    "Heun": (heun, 2),
    "DPM2": (dpm2, 2),
    "LMS": (lms, 2),  # the steps shrink too fast for more
    "DPM++ 2M": (dpmpp_2m, 2),
    "Euler a eta 0": (partial(euler_ancestral, eta=0.0), 1),
    "DPM2 a eta 0": (partial(dpm2_ancestral, eta=0.0), 2),
    "DPM++ 2S a eta 0": (partial(dpmpp_2s_ancestral, eta=0.0), 2),
    "DPM++ SDE eta 0": (partial(dpmpp_sde, eta=0.0), 2),
    "DPM++ 2M SDE eta 0": (partial(dpmpp_2m_sde, eta=0.0), 2),
    "DPM++ 2M SDE Heun eta 0": (partial(dpmpp_2m_sde_heun, eta=0.0), 2),
    "DPM++ 3M SDE eta 0": (partial(dpmpp_3m_sde, eta=0.0), 2),
    "DPM fast eta 0": (_to_the_ends(partial(dpm_fast, eta=0.0)), 1),  # its last step is of first order
}
STOCHASTIC: dict[str, Sampler] = {
    "Euler churned": partial(euler, churn=Churn(5.0)),
    "Heun churned": partial(heun, churn=Churn(5.0)),
    "DPM2 churned": partial(dpm2, churn=Churn(5.0)),
    "Euler a": euler_ancestral,
    "DPM2 a": dpm2_ancestral,
    "DPM++ 2S a": dpmpp_2s_ancestral,
    "DPM++ SDE": dpmpp_sde,
    "DPM++ 2M SDE": dpmpp_2m_sde,
    "DPM++ 2M SDE Heun": dpmpp_2m_sde_heun,
    "DPM++ 3M SDE": dpmpp_3m_sde,
    "Restart": restart,
    "LCM": lcm,
}
ENDING_AT_ZERO = {name: sampler for name, (sampler, _) in DETERMINISTIC.items() if "fast" not in name} | STOCHASTIC


def denoise(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """The mean of all pictures that noise of this strength may have turned into x."""
    return MEAN + (x - MEAN) * (SPREAD**2 / (SPREAD**2 + sigma**2))


def exact(x: torch.Tensor, sigma: torch.Tensor | float, sigma_next: torch.Tensor | float) -> torch.Tensor:
    """Where the probability-flow ODE leads from x."""
    return MEAN + (x - MEAN) * math.sqrt((SPREAD**2 + sigma_next**2) / (SPREAD**2 + sigma**2))


def predict_noise(x: torch.Tensor, timestep: float) -> torch.Tensor:
    """The noise in x, in the model's own range, at any time."""
    alpha = _alpha(timestep)
    sigma = torch.tensor(math.sqrt((1 - alpha) / alpha))
    scaled = x / math.sqrt(alpha)
    return (scaled - denoise(scaled, sigma)) / sigma


def _alpha(timestep: float) -> float:
    if timestep == int(timestep):
        return ALPHAS[int(timestep)].item()
    return math.exp(np.interp(timestep, np.arange(1000), ALPHAS.log().numpy()))


def no_noise(*_: torch.Tensor) -> torch.Tensor:
    raise AssertionError("a deterministic sampler asked for noise")


def last(steps: Iterator[Step]) -> torch.Tensor:
    *_, step = steps
    return step.x


def _start(count: int = 5) -> torch.Tensor:
    return torch.linspace(-2, 2, count, dtype=torch.float64)[None, None, None] * LEVELS.sigma_max


def _path(n: int, schedule: str = "Karras") -> torch.Tensor:
    return sigmas(schedule, n, LEVELS).double()


def test_every_sampler_that_has_a_name_has_a_function() -> None:
    """U008."""
    assert {sampler.name for sampler in SAMPLERS if not sampler.timesteps} == set(SIGMA_SAMPLERS)
    assert {sampler.name for sampler in SAMPLERS if sampler.timesteps} == set(TIMESTEP_SAMPLERS)


@pytest.mark.parametrize(("sampler", "order"), DETERMINISTIC.values(), ids=DETERMINISTIC)
def test_a_deterministic_sampler_nears_the_exact_solution_with_more_steps(sampler: Sampler, order: int) -> None:
    x = _start()
    errors = []
    for n in (20, 40, 80):
        path = _path(n)[:-1]  # to sigma_min: the last jump to zero is another matter
        error = last(sampler(denoise, x, path, no_noise)) - exact(x, path[0], path[-1])
        errors.append(error.abs().max().item())
    assert errors[0] / errors[1] > 2**order * 0.75
    assert errors[1] / errors[2] > 2**order * 0.85
    assert errors[2] < 0.05


def test_dpm_adaptive_nears_the_exact_solution_by_itself() -> None:
    x, path = _start(), _path(10)
    result = last(dpm_adaptive(denoise, x, path[[0, -2]], no_noise, calls=10, eta=0.0))
    torch.testing.assert_close(result, exact(x, path[0], path[-2]), rtol=0, atol=0.04)


@pytest.mark.parametrize("sampler", STOCHASTIC.values(), ids=STOCHASTIC)
def test_a_stochastic_sampler_draws_from_the_distribution(sampler: Sampler) -> None:
    numbers = torch.Generator().manual_seed(0)

    def noise(*_: torch.Tensor) -> torch.Tensor:
        return torch.randn(1, 1, 1, 40_000, generator=numbers, dtype=torch.float64)

    # A consistency model jumps to the end of the ODE instead of to the mean.
    view = (lambda x, sigma: exact(x, sigma, 0)) if sampler is lcm else denoise
    result = last(sampler(view, noise() * LEVELS.sigma_max, _path(60), noise))
    assert result.mean().item() == pytest.approx(MEAN, abs=0.05)
    assert result.std().item() == pytest.approx(SPREAD, rel=0.06)


@pytest.mark.parametrize(
    "sampler", [partial(dpm_fast, eta=1.0), partial(dpm_adaptive, eta=1.0)], ids=["DPM fast", "DPM adaptive"]
)
def test_noise_does_not_lead_dpm_solver_away_from_the_distribution(sampler: Sampler) -> None:
    numbers = torch.Generator().manual_seed(0)

    def noise(*_: torch.Tensor) -> torch.Tensor:
        return torch.randn(1, 1, 1, 40_000, generator=numbers, dtype=torch.float64)

    result = last(sampler(denoise, noise() * LEVELS.sigma_max, _path(60)[[0, -2]], noise, calls=60))
    assert result.mean().item() == pytest.approx(MEAN, abs=0.05)
    assert result.std().item() == pytest.approx(SPREAD, rel=0.06)


@pytest.mark.parametrize("sampler", ENDING_AT_ZERO.values(), ids=ENDING_AT_ZERO)
@pytest.mark.parametrize("schedule", ["Karras", "SGM Uniform", "Align Your Steps"])
def test_every_sampler_reaches_the_picture_that_a_perfect_model_sees(sampler: Sampler, schedule: str) -> None:
    picture = torch.tensor([[[[0.3, -1.2, 2.0]]]], dtype=torch.float64)
    numbers = torch.Generator().manual_seed(0)

    def noise(*_: torch.Tensor) -> torch.Tensor:
        return torch.randn(picture.shape, generator=numbers, dtype=torch.float64)

    for n in (1, 2, 7, 24):
        path = _path(n, schedule)
        *_, step = sampler(lambda x, sigma: picture.clone(), picture + noise() * path[0], path, noise)
        torch.testing.assert_close(step.x, picture, rtol=0, atol=1e-9)
        torch.testing.assert_close(step.denoised, picture, rtol=0, atol=0)


@pytest.mark.parametrize("sampler", ENDING_AT_ZERO.values(), ids=ENDING_AT_ZERO)
def test_a_picture_of_a_batch_is_walked_as_alone(sampler: Sampler) -> None:
    fresh = torch.randn(200, 3, 1, 1, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def walk(of: slice) -> torch.Tensor:
        draws = iter(fresh[1:])
        return last(sampler(denoise, fresh[0, of] * LEVELS.sigma_max, _path(22), lambda *_: next(draws)[of]))

    torch.testing.assert_close(walk(slice(None))[1:2], walk(slice(1, 2)), rtol=0, atol=0)


def test_without_noise_an_ancestral_sampler_is_its_deterministic_sibling() -> None:
    x, path = _start(), _path(12)
    for sibling, ancestral in ((euler, euler_ancestral), (dpm2, dpm2_ancestral)):
        without = partial(ancestral, eta=0.0)
        for mine, its in zip(sibling(denoise, x, path, no_noise), without(denoise, x, path, no_noise), strict=True):
            assert torch.equal(mine.x, its.x)


def test_both_forms_of_2m_sde_are_2m_as_steps_shrink() -> None:
    x, path = _start(), _path(200)[:-1]
    plain = last(dpmpp_2m(denoise, x, path, no_noise))
    for sampler in (dpmpp_2m_sde, dpmpp_2m_sde_heun):
        torch.testing.assert_close(last(sampler(denoise, x, path, no_noise, eta=0.0)), plain, rtol=0, atol=2e-4)


def test_an_ancestral_step_keeps_the_variance() -> None:
    five, two = torch.tensor(5.0), torch.tensor(2.0)
    for eta in (0.0, 0.3, 1.0):
        down, up = ancestral_step(five, two, eta)
        assert (down**2 + up**2).item() == pytest.approx(4.0)
    assert ancestral_step(five, two, 0.0) == (2.0, 0.0)
    assert ancestral_step(five, torch.tensor(0.0)) == (0.0, 0.0)


def test_churn_raises_sigma_only_inside_its_bounds_but_draws_noise_for_every_step() -> None:
    """U010."""
    churn = Churn(5.0, low=0.5, high=2.0, scale=1.1)
    asked, drawn = [], []

    def watched(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        asked.append(sigma.item())
        return denoise(x, sigma)

    def noise(*_: torch.Tensor) -> torch.Tensor:
        drawn.append(1)
        return torch.zeros(1, 1, 1, 5)

    list(euler(watched, _start(), torch.tensor([4.0, 2.0, 1.0, 0.4, 0.0]), noise, churn=churn))
    assert asked == pytest.approx([4.0, 2 * 2**0.5, 2**0.5, 0.4])
    assert len(drawn) == 4


@settings(deadline=None)
@given(st.lists(st.floats(0.03, 15), min_size=5, max_size=5, unique=True), st.integers(1, 4))
def test_multistep_shares_are_the_integrals_of_lagrange_polynomials(levels: list[float], order: int) -> None:
    falling = sorted(levels, reverse=True)
    known, (start, end) = np.array(falling[3::-1][:order]), (falling[3], falling[4])
    assert sum(multistep_shares(known, start, end)) == pytest.approx(end - start, rel=1e-6)
    if min(high - low for high, low in pairwise(falling)) > 0.1:
        for mine, share in zip(known, multistep_shares(known, start, end), strict=True):
            others = [other for other in known if other != mine]
            area, _ = integrate.quad(
                lambda s, mine=mine, others=others: np.prod([(s - o) / (mine - o) for o in others]), start, end
            )
            assert share == pytest.approx(area, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("calls", [1, 2, 3, 4, 5, 6, 10, 20, 150])
def test_dpm_fast_spends_the_calls_it_is_given(calls: int) -> None:
    asked = []

    def watched(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        asked.append(sigma)
        return denoise(x, sigma)

    steps = list(dpm_fast(watched, _start(), _path(5)[[0, -2]], lambda *_: torch.zeros(1), calls=calls))
    assert len(asked) == calls == sum(fast_orders(calls))
    assert len(steps) == len(fast_orders(calls))


def test_restart_keeps_to_the_steps_asked_for() -> None:
    """20 steps restart once, 36 twice, fewer not at all."""
    for steps, restarts in ((5, 0), (19, 0), (20, 1), (35, 1), (36, 2), (40, 2), (41, 2), (150, 2)):
        path = restart_steps(sigmas("Karras", steps, LEVELS))
        assert len(path) == steps
        ups = [(end, start) for (_, end), (start, _) in pairwise(path) if start > end]
        assert len(ups) == restarts
        for end, start in ups:
            assert 0.05 < end < 0.2
            assert 1.5 < start < 2.5
        assert path[-1][1] == 0


def test_restart_follows_the_schedule_only_where_it_does_not_restart() -> None:
    path = sigmas("Exponential", 19, LEVELS)
    assert restart_steps(path) == list(pairwise(path))


def test_ddim_is_euler_in_its_own_scale() -> None:
    timesteps = (901, 701, 401, 101, 1)
    path = ((1 - ALPHAS) / ALPHAS).sqrt()[list(timesteps)]
    x = _start()
    by_euler = last(euler(denoise, x, path, no_noise))
    by_ddim = last(ddim(predict_noise, x * ALPHAS[901].sqrt(), timesteps, ALPHAS, no_noise))
    torch.testing.assert_close(by_ddim / ALPHAS[1].sqrt(), by_euler)


def test_ddim_under_cfgpp_is_ddim_where_there_is_nothing_to_guide() -> None:
    timesteps, x = (901, 701, 401, 101, 1), _start()
    both = ddim_cfgpp(lambda x, t: (predict_noise(x, t),) * 2, x, timesteps, ALPHAS, no_noise)
    assert torch.equal(last(both), last(ddim(predict_noise, x, timesteps, ALPHAS, no_noise)))


def test_ddim_under_cfgpp_renoises_with_what_the_negative_prompt_says() -> None:
    timesteps, x = (501, 1), _start()
    uncond = torch.full_like(x, 0.25)
    (step,) = ddim_cfgpp(lambda x, t: (predict_noise(x, t), uncond), x, timesteps, ALPHAS, no_noise)
    torch.testing.assert_close(step.x, ALPHAS[1].sqrt() * step.denoised + (1 - ALPHAS[1]).sqrt() * uncond)


@pytest.mark.parametrize("sampler", [ddim, ddim_cfgpp])
def test_ddim_with_eta_asks_for_noise(sampler: Sampler) -> None:
    asked = []

    def noise(*_: torch.Tensor) -> torch.Tensor:
        asked.append(1)
        return torch.zeros(1, 1, 1, 5)

    predict = (lambda x, t: (x, x)) if sampler is ddim_cfgpp else (lambda x, t: x)
    last(sampler(predict, _start(), (901, 501, 1), ALPHAS, noise, eta=1.0))
    assert len(asked) == 2


def test_ddim_with_eta_1_draws_from_the_distribution() -> None:
    numbers = torch.Generator().manual_seed(0)

    def noise(*_: torch.Tensor) -> torch.Tensor:
        return torch.randn(1, 1, 1, 40_000, generator=numbers, dtype=torch.float64)

    result = last(ddim(predict_noise, noise(), tuple(range(991, 0, -5)), ALPHAS, noise, eta=1.0))
    assert result.mean().item() == pytest.approx(MEAN, abs=0.05)
    assert result.std().item() == pytest.approx(SPREAD, rel=0.06)


def _scaled_solution(x: torch.Tensor, start: float, end: float) -> torch.Tensor:
    """Where the ODE leads in the model's own range, from one alpha to another."""
    highest, lowest = math.sqrt((1 - start) / start), math.sqrt((1 - end) / end)
    return exact(x / math.sqrt(start), highest, lowest) * math.sqrt(end)


def test_plms_nears_the_exact_solution_with_more_steps() -> None:
    x, errors = _start() / LEVELS.sigma_max, []
    for stride in (40, 20, 10):
        timesteps = tuple(range(961, 0, -stride))
        result = last(plms(predict_noise, x, timesteps, ALPHAS, no_noise))
        expected = _scaled_solution(x, _alpha(timesteps[0]), _alpha(timesteps[-1]))
        errors.append((result - expected).abs().max().item())
    assert errors[0] / errors[1] > 2 and errors[1] / errors[2] > 2
    assert errors[2] < 0.01


@pytest.mark.parametrize("variant", ["bh1", "bh2"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_unipc_nears_the_exact_solution_with_more_steps(variant: str, order: int) -> None:
    """The third variant does not: its corrector is the authors' code, not their formula."""
    x, errors = _start() / LEVELS.sigma_max, []
    expected = _scaled_solution(x, _alpha(999), _alpha(0))
    for n in (10, 20, 40):
        walk = unipc(predict_noise, x, (0,) * n, ALPHAS, no_noise, variant=variant, skip_type="logSNR", order=order)
        errors.append((last(walk) - expected).abs().max().item())
    assert errors[2] < errors[1] < errors[0]
    assert errors[0] / errors[2] > 4 ** min(order, 2) * 0.8
    assert errors[2] < 0.02


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_unipc_of_any_order_makes_the_steps_asked_for(steps: int) -> None:
    """U010: an order above the number of steps is that number."""
    for order in (1, 3, 9):
        for lower_order_final in (True, False):
            walk = list(
                unipc(
                    predict_noise,
                    _start() / LEVELS.sigma_max,
                    (1,) * steps,
                    ALPHAS,
                    no_noise,
                    order=order,
                    lower_order_final=lower_order_final,
                )
            )
            assert [step.index for step in walk] == list(range(steps))
            assert walk[-1].x.isfinite().all()


@pytest.mark.parametrize("skip", ["time_uniform", "time_quadratic", "logSNR"])
def test_unipcs_times_fall_from_where_they_start_to_the_models_first(skip: str) -> None:
    levels = ContinuousLevels(ALPHAS)
    for start in (1.0, torch.tensor(0.402)):
        times = levels.times(skip, start, 10)
        assert len(times) == 11
        assert levels.timestep(times[0]) == pytest.approx(float(start) * 1000 - 1, abs=0.01)
        assert levels.timestep(times[-1]) == pytest.approx(0, abs=0.01)
        assert all(high > low for high, low in pairwise(times))


@settings(deadline=None)
@given(st.floats(0.001, 1))
def test_continuous_time_and_its_noise_level_are_inverse(time: float) -> None:
    levels = ContinuousLevels(ALPHAS)
    back = levels.time_of(levels.log_snr(torch.tensor([time])))
    assert back.item() == pytest.approx(time, abs=2e-4)
    alpha, sigma = levels.alpha(torch.tensor(time)), levels.sigma(torch.tensor(time))
    assert (alpha**2 + sigma**2).item() == pytest.approx(1, abs=1e-6)
