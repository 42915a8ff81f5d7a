"""Samplers against pictures whose denoiser is known exactly: independent normal numbers."""

import math
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import torch

from modules.params import SAMPLERS
from modules.sampling import ImageNoise, NoiseLevels, Step, plot_course, sigmas
from modules.sampling.course import SIGMA_SAMPLERS, TIMESTEP_SAMPLERS
from modules.sampling.samplers import (
    ancestral_step,
    ddim,
    dpmpp_2m,
    dpmpp_2m_sde,
    euler,
    euler_ancestral,
    lcm,
)

from .conftest import Unguided

MEAN, SPREAD = 0.7, 0.5
LEVELS = NoiseLevels.of_model(torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000).double() ** 2, 0))
SIGMAS = LEVELS.sigmas.tolist()
ALPHAS = tuple(1 / (1 + sigma**2) for sigma in SIGMAS)
DETERMINISTIC = {
    "Euler": euler,
    "DPM++ 2M": dpmpp_2m,
    "Euler a eta 0": partial(euler_ancestral, eta=0.0),
    "DPM++ 2M SDE eta 0": partial(dpmpp_2m_sde, eta=0.0),
}
STOCHASTIC = {"Euler a": euler_ancestral, "DPM++ 2M SDE": dpmpp_2m_sde, "LCM": lcm}


def denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """The mean of all pictures that noise of this strength may have turned into x."""
    return MEAN + (x - MEAN) * (SPREAD**2 / (SPREAD**2 + sigma**2))


def exact(x: torch.Tensor, sigma: float, sigma_next: float) -> torch.Tensor:
    """Where the probability-flow ODE leads from x."""
    return MEAN + (x - MEAN) * math.sqrt((SPREAD**2 + sigma_next**2) / (SPREAD**2 + sigma**2))


def no_noise(sigma: float, sigma_next: float) -> torch.Tensor:
    raise AssertionError("a deterministic sampler asked for noise")


def last(steps: Iterator[Step]) -> torch.Tensor:
    *_, step = steps
    return step.x


def _start(count: int = 5) -> torch.Tensor:
    return torch.linspace(-2, 2, count, dtype=torch.float64)[None, None, None] * LEVELS.sigma_max


def test_every_sampler_that_has_a_name_has_a_function() -> None:
    assert {sampler.name for sampler in SAMPLERS if not sampler.timesteps} == set(SIGMA_SAMPLERS)
    assert {sampler.name for sampler in SAMPLERS if sampler.timesteps} == set(TIMESTEP_SAMPLERS)


@pytest.mark.parametrize("sampler", DETERMINISTIC.values(), ids=DETERMINISTIC)
def test_a_deterministic_sampler_nears_the_exact_solution_with_more_steps(
    sampler: Callable[..., Iterator[Step]],
) -> None:
    x = _start()
    errors = []
    for n in (20, 40, 80):
        path = sigmas("Karras", n, LEVELS)[:-1]  # to sigma_min: the last jump to zero is another matter
        error = last(sampler(denoise, x, path, no_noise)) - exact(x, path[0], path[-1])
        errors.append(error.abs().max().item())
    order = 1 if "euler" in getattr(sampler, "__name__", str(sampler)) else 2
    assert errors[0] / errors[1] > 2**order * 0.75
    assert errors[1] / errors[2] > 2**order * 0.85
    assert errors[2] < 0.05


@pytest.mark.parametrize("sampler", STOCHASTIC.values(), ids=STOCHASTIC)
def test_a_stochastic_sampler_draws_from_the_distribution(sampler: Callable[..., Iterator[Step]]) -> None:
    numbers = torch.Generator().manual_seed(0)

    def noise(sigma: float, sigma_next: float) -> torch.Tensor:
        return torch.randn(1, 1, 1, 40_000, generator=numbers, dtype=torch.float64)

    # A consistency model jumps to the end of the ODE instead of to the mean.
    view = (lambda x, sigma: exact(x, sigma, 0)) if sampler is lcm else denoise
    x = noise(0, 0) * LEVELS.sigma_max
    result = last(sampler(view, x, sigmas("Karras", 60, LEVELS), noise))
    assert result.mean().item() == pytest.approx(MEAN, abs=0.05)
    assert result.std().item() == pytest.approx(SPREAD, rel=0.06)


@pytest.mark.parametrize("sampler", (DETERMINISTIC | STOCHASTIC).values(), ids=DETERMINISTIC | STOCHASTIC)
def test_the_last_step_ends_at_the_picture_the_model_sees(sampler: Callable[..., Iterator[Step]]) -> None:
    *_, step = sampler(denoise, _start(), (3.0, 1.0, 0.0), lambda sigma, sigma_next: torch.zeros(1, 1, 1, 5))
    torch.testing.assert_close(step.x, step.denoised, rtol=0, atol=1e-12)
    assert step.index == 1


def test_an_ancestral_step_keeps_the_variance() -> None:
    for eta in (0.0, 0.3, 1.0):
        down, up = ancestral_step(5.0, 2.0, eta)
        assert down**2 + up**2 == pytest.approx(4.0)
    assert ancestral_step(5.0, 2.0, 0.0) == (2.0, 0.0)
    assert ancestral_step(5.0, 0.0) == (0.0, 0.0)


def test_ddim_is_euler_in_its_own_scale() -> None:
    timesteps = (901, 701, 401, 101, 1)
    path = [SIGMAS[t] for t in timesteps]

    def predict_noise(x: torch.Tensor, t: int) -> torch.Tensor:
        sigma = SIGMAS[t]
        scaled = x * math.sqrt(1 + sigma**2)
        return (scaled - denoise(scaled, sigma)) / sigma

    x = _start()
    by_euler = last(euler(denoise, x, path, no_noise))
    by_ddim = last(ddim(predict_noise, x * math.sqrt(ALPHAS[901]), timesteps, ALPHAS, no_noise))
    torch.testing.assert_close(by_ddim / math.sqrt(ALPHAS[1]), by_euler)


def test_ddim_with_eta_asks_for_noise() -> None:
    asked = []

    def noise(t: float, t_next: float) -> torch.Tensor:
        asked.append((t, t_next))
        return torch.zeros(1, 1, 1, 5)

    last(ddim(lambda x, t: x, _start(), (901, 501, 1), ALPHAS, noise, eta=1.0))
    assert asked == [(901, 501), (501, 1)]


@pytest.mark.parametrize("sampler", [sampler.name for sampler in SAMPLERS])
def test_a_walk_can_be_left_after_any_step(sampler: str, alphas_cumprod: torch.Tensor) -> None:
    calls = []

    def guided(x: torch.Tensor, timestep: float) -> torch.Tensor:
        calls.append(timestep)
        return torch.zeros_like(x)

    course = plot_course(sampler, "Automatic", 8, alphas_cumprod)
    noise = ImageNoise([1], (4, 8, 8))
    walk = course.walk(Unguided(guided), course.start(noise.first()), noise)
    next(walk), next(walk)
    walk.close()
    assert len(calls) == 2
