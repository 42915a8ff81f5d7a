import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.params import SAMPLERS, SCHEDULES, UnknownName
from modules.sampling import ImageNoise, SigmaCourse, plot_course
from modules.sampling.course import img2img_steps

from .conftest import Unguided, golden

NAMES = {sampler.name for sampler in SAMPLERS}
LABELS = {schedule.label for schedule in SCHEDULES}
KNOWN_OPTIONS = {"img2img_fix_steps", "randn_source", "CLIP_stop_at_last_layers", "emphasis", "eta_noise_seed_delta"}


def _cases() -> list[dict]:
    """One run from noise or from a picture, with a sampler and a schedule that exist and nothing that bends either."""
    return [
        case
        for file in ("sampling.json", "sampling_img.json")
        for case in golden(file)["cases"]
        if case["args"]["sampler_name"] in NAMES
        and case["args"]["scheduler"] in LABELS
        and set(case["opts"]) <= KNOWN_OPTIONS
        and not {"enable_hr", "s_min_uncond"} & set(case["args"])
        and case["args"].get("n_iter", 1) == 1
    ]


def _strength(case: dict) -> float | None:
    return case["args"].get("denoising_strength") if case["kind"] != "txt2img" else None


@pytest.mark.parametrize("case", _cases(), ids=lambda case: case["name"])
def test_the_model_is_asked_at_the_references_timesteps(case: dict, alphas_cumprod: torch.Tensor) -> None:
    asked: list[float] = []

    def guided(x: torch.Tensor, timestep: float) -> torch.Tensor:
        asked.append(timestep)
        return torch.zeros_like(x)

    args = case["args"]
    course = plot_course(
        args["sampler_name"],
        args["scheduler"],
        args["steps"],
        alphas_cumprod,
        strength=_strength(case),
        exactly=case["opts"].get("img2img_fix_steps", False),
    )
    noise = ImageNoise([1], (4, 8, 8))
    steps = list(course.walk(Unguided(guided), course.start(noise.first()), noise))
    assert [step.index for step in steps] == list(range(course.steps))
    calls = case["unet_t"]
    each = len(calls) // len(asked)  # prompts of different lengths make more than one call a step
    np.testing.assert_allclose(np.repeat(asked, each), calls, rtol=0, atol=2e-3)
    if isinstance(course, SigmaCourse):
        np.testing.assert_allclose(course.sigmas, case["sigmas"][0][-len(course.sigmas) :], rtol=2e-5)


def test_most_reference_runs_are_covered() -> None:
    assert len(_cases()) > 90


def test_a_schedule_inside_the_samplers_name_is_followed(alphas_cumprod: torch.Tensor) -> None:
    joined = plot_course("DPM++ 2M Karras", "Automatic", 8, alphas_cumprod)
    apart = plot_course("DPM++ 2M", "Karras", 8, alphas_cumprod)
    assert isinstance(joined, SigmaCourse) and isinstance(apart, SigmaCourse)
    assert joined.sigmas == apart.sigmas


def test_automatic_is_the_samplers_own_schedule(alphas_cumprod: torch.Tensor) -> None:
    for name, schedule in [("DPM++ 2M", "Karras"), ("DPM++ 2M SDE", "Exponential"), ("Euler", "Uniform")]:
        automatic = plot_course(name, "Automatic", 8, alphas_cumprod)
        chosen = plot_course(name, schedule, 8, alphas_cumprod)
        assert isinstance(automatic, SigmaCourse) and isinstance(chosen, SigmaCourse)
        assert automatic.sigmas == chosen.sigmas


def test_an_unknown_sampler_names_the_nearest(alphas_cumprod: torch.Tensor) -> None:
    with pytest.raises(UnknownName, match=r'"Eular a" is unknown\. Did you mean "Euler a"'):
        plot_course("Eular a", "Automatic", 8, alphas_cumprod)


@settings(deadline=None)
@given(steps=st.integers(1, 10_000), strength=st.floats(0, 1), exactly=st.booleans())
def test_a_picture_is_never_walked_longer_than_its_schedule(steps: int, strength: float, exactly: bool) -> None:
    total, walked = img2img_steps(steps, strength, exactly=exactly)
    assert 1 <= walked <= total
    assert walked <= steps
    assert total <= max(steps, 100_000)


@pytest.mark.parametrize("sampler", sorted(NAMES))
def test_strength_zero_leaves_the_picture_nearly_as_it_is(sampler: str, alphas_cumprod: torch.Tensor) -> None:
    course = plot_course(sampler, "Karras", 20, alphas_cumprod, strength=0.0)
    init = torch.full((1, 4, 8, 8), 0.5)
    start = course.start(torch.ones(1, 4, 8, 8), init)
    assert (start - init).abs().max() < 0.3 if sampler == "LCM" else (start - init).abs().max() < 0.06


def test_a_course_without_a_picture_starts_from_noise_at_full_strength(alphas_cumprod: torch.Tensor) -> None:
    noise = torch.ones(1, 4, 8, 8)
    sigma = plot_course("Euler", "Automatic", 8, alphas_cumprod).start(noise).max().item()
    assert sigma == pytest.approx(14.6146, abs=1e-3)
    assert torch.equal(plot_course("DDIM", "Automatic", 8, alphas_cumprod).start(noise), noise)
