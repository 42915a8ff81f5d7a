from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.params import SAMPLERS, SCHEDULES, UnknownName, find_sampler
from modules.sampling import (
    Course,
    Denoiser,
    ImageNoise,
    Perspective,
    SamplerOptions,
    SigmaCourse,
    Step,
    TimestepCourse,
    plot_course,
    sigmas,
)
from modules.sampling.course import img2img_steps

NAMES = [sampler.name for sampler in SAMPLERS]
SIGMAS = [sampler.name for sampler in SAMPLERS if not sampler.timesteps]
LABELS = [schedule.label for schedule in SCHEDULES]
SHAPE = (4, 8, 8)


class Watched:
    """A model that sees nothing but noise, and remembers where it was asked."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.perspective: Perspective | None = None

    def through(self, perspective: Perspective) -> Denoiser:
        self.perspective = perspective
        return _Watching(self)


class _Watching:
    def __init__(self, model: Watched) -> None:
        self._model = model

    def __call__(self, x: torch.Tensor, at: float) -> torch.Tensor:
        self._model.asked.append(float(at))
        return torch.zeros_like(x)

    def both(self, x: torch.Tensor, at: float) -> tuple[torch.Tensor, torch.Tensor]:
        return self(x, at), torch.zeros_like(x)


def walked(course: Course, model: Watched | None = None, seeds: tuple[int, ...] = (1,)) -> Iterator[Step]:
    noise = ImageNoise(seeds, SHAPE, "CPU")
    return course.walk(model or Watched(), course.start(noise.first()), noise)


def sigma_course(*args: object, **options: object) -> SigmaCourse:
    course = plot_course(*args, **options)  # type: ignore[arg-type]
    assert isinstance(course, SigmaCourse)
    return course


@pytest.mark.parametrize("steps", [1, 2, 5, 20, 36])
@pytest.mark.parametrize("sampler", NAMES)
def test_a_walk_makes_the_steps_it_says(sampler: str, steps: int, alphas_cumprod: torch.Tensor) -> None:
    for strength in (None, 0.0, 0.4, 1.0):
        course = plot_course(sampler, "Automatic", steps, alphas_cumprod, strength=strength)
        indices = [step.index for step in walked(course)]
        if sampler == "DPM adaptive":  # nobody knows how many steps there will be
            assert indices == sorted(indices)
            assert indices[-1] == course.steps - 1
            assert course.steps == 1 or indices.count(course.steps - 1) == 1
        else:
            assert indices == list(range(course.steps))


@pytest.mark.parametrize("sampler", NAMES)
def test_no_sampler_takes_many_more_steps_than_asked_for(sampler: str, alphas_cumprod: torch.Tensor) -> None:
    for steps in (1, 10, 20, 36, 50):
        course = plot_course(sampler, "Automatic", steps, alphas_cumprod)
        assert course.steps <= steps + (0 if isinstance(course, SigmaCourse) else 2)


@pytest.mark.parametrize("sampler", NAMES)
def test_a_walk_can_be_left_after_any_step(sampler: str, alphas_cumprod: torch.Tensor) -> None:
    model = Watched()
    walk = walked(plot_course(sampler, "Automatic", 20, alphas_cumprod), model)
    next(walk), next(walk)
    walk.close()
    assert len(model.asked) <= 6


@pytest.mark.parametrize("sampler", NAMES)
def test_a_second_order_sampler_counts_its_calls_twice(sampler: str, alphas_cumprod: torch.Tensor) -> None:
    """P033."""
    model = Watched()
    info, _ = find_sampler(sampler)
    list(walked(plot_course(sampler, "Automatic", 10, alphas_cumprod), model))
    assert model.perspective is not None
    assert model.perspective.calls == (20 if info.second_order else 10)
    if sampler != "DPM adaptive":
        assert len(model.asked) <= model.perspective.calls
    list(walked(plot_course(sampler, "Automatic", 10, alphas_cumprod, strength=0.5), model))
    assert model.perspective.calls == (12 if info.second_order else 6)


@pytest.mark.parametrize("sampler", NAMES)
@pytest.mark.parametrize("name", ["alias", "label"])
def test_a_schedule_inside_the_samplers_name_is_followed(sampler: str, name: str, alphas_cumprod: torch.Tensor) -> None:
    """U009."""
    info, _ = find_sampler(sampler)
    joined = f"{info.aliases[0]}_ka" if name == "alias" else f"{sampler} Karras"
    found, schedule = find_sampler(joined)
    assert (found.name, schedule.label if schedule else None) == (sampler, "Karras")
    if not info.timesteps:
        apart = sigma_course(sampler, "Karras", 8, alphas_cumprod)
        assert torch.equal(sigma_course(joined, "Automatic", 8, alphas_cumprod).sigmas, apart.sigmas)


@pytest.mark.parametrize("sampler", SIGMAS)
def test_automatic_is_the_samplers_own_schedule(sampler: str, alphas_cumprod: torch.Tensor) -> None:
    """U008."""
    info, _ = find_sampler(sampler)
    own = {"DPM++ 2M": "Karras", "DPM++ 2M SDE": "Exponential", "Euler": "Automatic"}
    assert info.default_schedule == own.get(sampler, info.default_schedule)
    automatic = sigma_course(sampler, "Automatic", 8, alphas_cumprod)
    chosen = sigma_course(
        sampler, "Uniform" if info.default_schedule == "Automatic" else info.default_schedule, 8, alphas_cumprod
    )
    assert torch.equal(automatic.sigmas, chosen.sigmas)


def test_an_unknown_sampler_names_the_nearest(alphas_cumprod: torch.Tensor) -> None:
    with pytest.raises(UnknownName, match=r'"Eular a" is unknown\. Did you mean "Euler a"'):
        plot_course("Eular a", "Automatic", 8, alphas_cumprod)


@settings(deadline=None)
@given(steps=st.integers(1, 10_000), strength=st.floats(0, 1), exactly=st.booleans())
def test_a_picture_is_never_walked_longer_than_its_schedule(steps: int, strength: float, exactly: bool) -> None:
    total, taken = img2img_steps(steps, strength, exactly=exactly)
    assert 1 <= taken <= total
    assert taken <= steps
    assert total <= max(steps, 100_000)


@pytest.mark.parametrize("sampler", NAMES)
def test_strength_zero_leaves_the_picture_nearly_as_it_is(sampler: str, alphas_cumprod: torch.Tensor) -> None:
    course = plot_course(sampler, "Karras", 20, alphas_cumprod, strength=0.0)
    init = torch.full((1, *SHAPE), 0.5)
    start = course.start(torch.ones(1, *SHAPE), init)
    discards = find_sampler(sampler)[0].discards_penultimate
    assert (start - init).abs().max() < (0.3 if sampler == "LCM" or discards else 0.06)


@pytest.mark.parametrize(
    ("sampler", "schedule"), [*((name, "Karras") for name in NAMES), *(("Euler", label) for label in LABELS)]
)
def test_a_picture_starts_lower_on_the_same_way_the_weaker_the_strength(
    sampler: str, schedule: str, alphas_cumprod: torch.Tensor
) -> None:
    whole = plot_course(sampler, schedule, 12, alphas_cumprod)
    for strength in (0.2, 0.5, 0.9):
        part = plot_course(sampler, schedule, 12, alphas_cumprod, strength=strength)
        if isinstance(part, SigmaCourse) and isinstance(whole, SigmaCourse):
            assert torch.equal(part.sigmas, whole.sigmas[len(whole.sigmas) - len(part.sigmas) :])
            assert part.span == whole.span
        else:
            assert isinstance(part, TimestepCourse) and isinstance(whole, TimestepCourse)
            assert part.timesteps == whole.timesteps[len(whole.timesteps) - len(part.timesteps) :]


def test_a_course_without_a_picture_starts_from_noise_at_full_strength(alphas_cumprod: torch.Tensor) -> None:
    noise = torch.ones(1, *SHAPE)
    sigma = plot_course("Euler", "Automatic", 8, alphas_cumprod).start(noise).max().item()
    assert sigma == pytest.approx(14.6146, abs=1e-3)
    assert torch.equal(plot_course("DDIM", "Automatic", 8, alphas_cumprod).start(noise), noise)


@pytest.mark.parametrize("sampler", ["Euler", "DDIM"])
def test_extra_noise_is_noise_on_top(sampler: str, alphas_cumprod: torch.Tensor) -> None:
    course = plot_course(sampler, "Automatic", 10, alphas_cumprod, strength=0.5)
    noise, init = torch.ones(1, *SHAPE), torch.full((1, *SHAPE), 0.5)
    added = course.start(noise, init, extra_noise=0.1) - course.start(noise, init)
    scale = 1.0 if sampler == "Euler" else alphas_cumprod[501].sqrt().item()
    torch.testing.assert_close(added, torch.full_like(added, 0.1 * scale), rtol=0, atol=1e-6)


def _brownian_span(sampler: str, alphas_cumprod: torch.Tensor, **options: object) -> tuple[float, float] | None:
    return sigma_course(sampler, "Karras", 10, alphas_cumprod, **options).span


def test_brownian_noise_spans_the_whole_schedule_with_zero_left_out(alphas_cumprod: torch.Tensor) -> None:
    for sampler in SIGMAS:
        span = _brownian_span(sampler, alphas_cumprod)
        assert (span is not None) == ("SDE" in sampler)
        if span is not None:
            levels = sigma_course(sampler, "Karras", 10, alphas_cumprod).sigmas
            assert span == (levels[-2].item(), levels[0].item())
            assert _brownian_span(sampler, alphas_cumprod, strength=0.3) == span


@pytest.mark.parametrize("sampler", [name for name in NAMES if name != "DPM adaptive"])
def test_a_picture_of_a_batch_ends_as_alone(sampler: str, alphas_cumprod: torch.Tensor) -> None:
    course = plot_course(sampler, "Automatic", 20, alphas_cumprod)
    *_, both = walked(course, seeds=(5, 6))
    *_, alone = walked(course, seeds=(6,))
    assert torch.equal(both.x[1:], alone.x)


@pytest.mark.parametrize("schedule", LABELS)
def test_discarding_the_penultimate_sigma_keeps_the_number_of_steps(
    schedule: str, alphas_cumprod: torch.Tensor
) -> None:
    """U010."""
    if schedule == "DDIM":  # has more levels than steps
        return
    plain = sigma_course("Euler", schedule, 9, alphas_cumprod)
    cut = sigma_course("Euler", schedule, 9, alphas_cumprod, options=SamplerOptions(discard_penultimate=True))
    longer = sigma_course("Euler", schedule, 10, alphas_cumprod)
    assert len(cut.sigmas) == len(plain.sigmas)
    assert torch.equal(cut.sigmas, torch.cat([longer.sigmas[:-2], longer.sigmas[-1:]]))


@pytest.mark.parametrize("sampler", ["DPM2", "DPM2 a", "DPM++ 3M SDE"])
def test_some_samplers_always_discard_it(sampler: str, alphas_cumprod: torch.Tensor) -> None:
    told = sigma_course(sampler, "Karras", 9, alphas_cumprod, options=SamplerOptions(discard_penultimate=True))
    assert torch.equal(sigma_course(sampler, "Karras", 9, alphas_cumprod).sigmas, told.sigmas)
    assert told.sigmas[-2] > 2 * sigma_course("Euler", "Karras", 9, alphas_cumprod).sigmas[-2]


def test_the_sgm_noise_multiplier_gives_the_variance_of_a_noised_picture(alphas_cumprod: torch.Tensor) -> None:
    """U010; a run that starts from a picture has it anyway."""
    noise, init = torch.ones(1, *SHAPE), torch.zeros(1, *SHAPE)
    options = SamplerOptions(sgm_noise_multiplier=True)
    course = sigma_course("Euler", "Karras", 9, alphas_cumprod, options=options)
    assert course.start(noise).max().item() == pytest.approx((1 + course.sigmas[0].item() ** 2) ** 0.5)
    assert course.start(noise, init).max().item() == pytest.approx(course.sigmas[0].item())


class _Half(_Watching):
    """Sees half of x in x."""

    def __call__(self, x: torch.Tensor, at: float) -> torch.Tensor:
        return x / 2

    def both(self, x: torch.Tensor, at: float) -> tuple[torch.Tensor, torch.Tensor]:
        return x / 2, x / 3


class _Halving(Watched):
    def through(self, perspective: Perspective) -> Denoiser:
        return _Half(self)


def _differs(sampler: str, alphas_cumprod: torch.Tensor, **options: object) -> bool:
    """Whether these options change where the sampler goes."""

    def end(chosen: SamplerOptions) -> torch.Tensor:
        *_, step = walked(plot_course(sampler, "Karras", 9, alphas_cumprod, options=chosen), _Halving())
        return step.x

    return not torch.equal(end(SamplerOptions()), end(SamplerOptions(**options)))  # type: ignore[arg-type]


@pytest.mark.parametrize("info", SAMPLERS, ids=lambda info: info.name)
def test_a_sampler_reads_the_options_that_the_table_says(info, alphas_cumprod: torch.Tensor) -> None:
    """U010: what is not read is not in the infotext either."""
    assert _differs(info.name, alphas_cumprod, eta=0.5) == (info.eta is not None)
    assert _differs(info.name, alphas_cumprod, s_churn=5.0) == info.churns
    if not info.churns:
        assert _differs(info.name, alphas_cumprod, s_noise=1.1) == info.scales_noise
    else:
        options = [SamplerOptions(s_churn=5.0, s_noise=noise) for noise in (1.0, 1.1)]
        ends = [
            list(walked(plot_course(info.name, "Karras", 9, alphas_cumprod, options=each)))[-2].x for each in options
        ]
        assert not torch.equal(*ends)
    assert _differs(info.name, alphas_cumprod, sde_r=0.7) == (info.name == "DPM++ SDE")
    assert _differs(info.name, alphas_cumprod, uni_pc_order=1) == (info.name == "UniPC")


def test_churn_without_an_upper_bound_has_none(alphas_cumprod: torch.Tensor) -> None:
    model, bounded = Watched(), Watched()
    options = {"s_churn": 5.0, "s_tmin": 1.0}
    for watched, tmax in ((model, 0.0), (bounded, 5.0)):
        course = plot_course("Euler", "Karras", 10, alphas_cumprod, options=SamplerOptions(**options, s_tmax=tmax))
        list(walked(course, watched))
    plain = sigmas("Karras", 10, sigma_course("Euler", "Karras", 10, alphas_cumprod).levels)[:-1].tolist()
    for level, free, held in zip(plain, model.asked, bounded.asked, strict=True):
        assert (free > level) == (level >= 1)
        assert (held > level) == (1 <= level <= 5)


def test_a_quantised_model_is_asked_at_whole_timesteps(alphas_cumprod: torch.Tensor) -> None:
    """U010."""
    levels = sigma_course("Euler", "Karras", 10, alphas_cumprod, options=SamplerOptions(quantize=True)).levels
    free = sigma_course("Euler", "Karras", 10, alphas_cumprod).levels
    for sigma in (0.05, 1.0, 7.3, 14.0):
        assert levels.timestep(sigma) == round(levels.timestep(sigma))
        assert abs(levels.timestep(sigma) - free.timestep(sigma)) <= 0.51
        assert free.timestep(sigma) != round(free.timestep(sigma))


def test_dpm_solver_without_a_picture_goes_from_end_to_end_of_the_model(alphas_cumprod: torch.Tensor) -> None:
    """Whatever the schedule; from a picture it goes from its first sigma to its last above zero."""
    for sampler in ("DPM fast", "DPM adaptive"):
        course = sigma_course(sampler, "SGM Uniform", 10, alphas_cumprod)
        assert course.path.tolist() == [course.levels.sigma_max, course.levels.sigma_min]
        part = sigma_course(sampler, "SGM Uniform", 10, alphas_cumprod, strength=0.5)
        assert torch.equal(part.path, part.sigmas[[0, -2]])


def test_sigmas_fall_whatever_range_is_asked_for(alphas_cumprod: torch.Tensor) -> None:
    """U010."""
    options: list[Callable[[], SamplerOptions]] = [
        lambda: SamplerOptions(sigma_min=0.2, sigma_max=20.0, rho=3.0),
        lambda: SamplerOptions(old_karras=True),
        lambda: SamplerOptions(beta_alpha=3.0, beta_beta=0.3),
    ]
    for make in options:
        for schedule in LABELS:
            course = sigma_course("Euler", schedule, 10, alphas_cumprod, options=make())
            assert all(high > low for high, low in pairwise(course.sigmas))


@pytest.mark.parametrize("sampler", [name for name in NAMES if name != "DPM adaptive"])
@pytest.mark.parametrize("strength", [None, 0.5])
def test_pictures_on_another_device_meet_nothing_of_the_processor_but_single_numbers(
    sampler: str, strength: float | None, alphas_cumprod: torch.Tensor
) -> None:
    course = plot_course(
        sampler, "Automatic", 20, alphas_cumprod, strength=strength, options=SamplerOptions(eta=1.0, s_churn=9.0)
    )
    noise = ImageNoise([1], SHAPE, device="meta")
    start = course.start(noise.first(), torch.zeros(1, *SHAPE, device="meta"))
    *_, step = course.walk(Watched(), start, noise)
    assert step.x.device.type == step.denoised.device.type == "meta"
    assert step.x.dtype == torch.float32
