"""Every sampler, schedule and option of theirs against the reference, without the rest of the pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from modules.conditioning import encode
from modules.models import Model, downcast, load, zero_terminal_snr
from modules.params import find_sampler
from modules.prompt import Tokenizer, parse_prompt
from modules.sampling import (
    Context,
    Course,
    Guidance,
    ImageNoise,
    Predict,
    Prompted,
    SamplerOptions,
    SigmaCourse,
    TimestepCourse,
    plot_course,
)
from tests.rounding import assert_latents_near, assert_same_numbers

from .conftest import GOLDEN, golden

OPTIONS = {
    "s_churn": "s_churn",
    "s_tmin": "s_tmin",
    "s_tmax": "s_tmax",
    "s_noise": "s_noise",
    "sigma_min": "sigma_min",
    "sigma_max": "sigma_max",
    "rho": "rho",
    "always_discard_next_to_last_sigma": "discard_penultimate",
    "use_old_karras_scheduler_sigmas": "old_karras",
    "enable_quantization": "quantize",
    "beta_dist_alpha": "beta_alpha",
    "beta_dist_beta": "beta_beta",
    "sgm_noise_multiplier": "sgm_noise_multiplier",
    "uni_pc_variant": "uni_pc_variant",
    "uni_pc_skip_type": "uni_pc_skip_type",
    "uni_pc_order": "uni_pc_order",
    "uni_pc_lower_order_final": "uni_pc_lower_order_final",
}
OTHERS = {
    "randn_source",
    "eta_noise_seed_delta",
    "sd_noise_schedule",
    "use_downcasted_alpha_bar",
    "img2img_fix_steps",
    "img2img_extra_noise",
    "sd_model_checkpoint",
}
GROUPS = ("sampler", "sched", "sched11", "param", "img2img", "v")
PROMPT = "a cat sitting on a red chair"
NOISY = {"DPM++ SDE", "DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 2S a", "DPM++ 3M SDE", "Euler a", "DPM2 a", "LCM"}
LATENTS, NOISY_LATENTS = 2e-3, 5e-3
# On a processor like the reference's all latents are the same to the last bit, but for those of a guidance of 1, which
# has no unconditional pass here.


def _all() -> Iterator[tuple[str, dict[str, Any]]]:
    for file in ("sampling", "sampling_img", "sampling_models"):
        for case in golden(f"{file}.json")["cases"]:
            yield file, case


def _latent_cases() -> Iterator[Any]:
    """One run each of a single picture, with nothing in it that is not about sampling."""
    for file, case in _all():
        options = case["opts"]
        if (
            case["name"].split("/")[0] in GROUPS
            and set(options) <= set(OPTIONS) | OTHERS
            and [latents["shape"][0] for latents in case["latents"]] == [1]
            and case["args"]["prompt"] == PROMPT
            and not {"tiling", "s_min_uncond", "subseed", "seed_resize_from_w"} & set(case["args"])
            and case["name"] not in ("img2img/noise_mult", "img2img/color_corr")
        ):
            yield pytest.param(file, case, id=case["name"])


def _call_cases() -> Iterator[Any]:
    """One run each whose calls do not depend on what the model says."""
    for _, case in _all():
        runs = case.get("sigmas") or case.get("timesteps") or []
        changes = {"refiner_checkpoint", "s_min_uncond", "enable_hr", "error"} & {*case, *case["args"]}
        if len(runs) == 1 and not changes and case["args"]["sampler_name"] != "DPM adaptive":
            yield pytest.param(case, id=case["name"])


def _course(case: dict[str, Any], alphas: torch.Tensor) -> Course:
    args, chosen = case["args"], case["opts"]
    if chosen.get("use_downcasted_alpha_bar"):
        alphas = downcast(alphas)
    if chosen.get("sd_noise_schedule") == "Zero Terminal SNR":
        alphas = zero_terminal_snr(alphas)
    return plot_course(
        args["sampler_name"],
        args["scheduler"],
        args["steps"],
        alphas,
        prediction="v" if chosen.get("sd_model_checkpoint") == "tiny_v" else "epsilon",
        strength=args.get("denoising_strength") if case["kind"] == "img2img" else None,
        exactly=chosen.get("img2img_fix_steps", False),
        options=SamplerOptions(
            eta=args.get("eta"), **{OPTIONS[name]: value for name, value in chosen.items() if name in OPTIONS}
        ),
    )


class _Nothing:
    """What a prompt that says nothing says."""

    def at(self, step: int) -> list[tuple[float, Context]]:
        return [(1.0, Context(torch.zeros(1, 1)))]


@pytest.fixture(scope="module")
def model() -> Model:
    return load(GOLDEN / "model" / "tiny_sd1.safetensors")


@pytest.mark.parametrize("case", list(_call_cases()))
def test_the_model_is_asked_at_the_references_timesteps(case: dict[str, Any], alphas_cumprod: torch.Tensor) -> None:
    """U008, U010, P033: sigmas and timesteps call by call, for every sampler, schedule and option."""
    asked: list[float] = []

    def predict(x: torch.Tensor, timestep: float, context: Context) -> torch.Tensor:
        asked.append(timestep)
        return torch.zeros_like(x)

    course = _course(case, alphas_cumprod)
    noise = ImageNoise([1], (4, 8, 8))
    guidance = Guidance(Prompted(predict, [_Nothing()], [_Nothing()]), 7.0)
    steps = list(course.walk(guidance, course.start(noise.first(), torch.zeros(1, 4, 8, 8)), noise))
    assert [step.index for step in steps] == list(range(course.steps))
    calls = case["unet_t"]
    assert len(calls) % len(asked) == 0  # prompts of different lengths make more than one call a step
    assert_same_numbers(np.repeat(asked, len(calls) // len(asked)), calls)
    if isinstance(course, SigmaCourse):
        assert_same_numbers(course.sigmas, case["sigmas"][0][-len(course.sigmas) :])
    else:
        assert isinstance(course, TimestepCourse)
        assert list(course.timesteps[::-1]) == case["timesteps"][0][: len(course.timesteps)]


def test_nearly_all_runs_of_the_reference_are_compared() -> None:
    assert len(list(_call_cases())) > 200
    assert len(list(_latent_cases())) > 140


def _end(case: dict[str, Any], course: Course, predict: Predict, model: Model) -> torch.Tensor:
    """The latents that a walk ends at."""
    args, chosen = case["args"], case["opts"]
    sampler, _ = find_sampler(args["sampler_name"])
    calls = args["steps"] * (2 if sampler.second_order else 1)
    conds, unconds = (
        encode(model, [parse_prompt(args[which], steps=calls)], tokenizer=Tokenizer())
        for which in ("prompt", "negative_prompt")
    )
    noise = ImageNoise(
        case["all_seeds"],
        case["latents"][0]["shape"][1:],
        chosen.get("randn_source", "CPU"),
        eta_delta=chosen.get("eta_noise_seed_delta", 0),
    )
    with np.load(GOLDEN / "sampling_img_latents.npz") as arrays:  # all but one case note theirs, and it is the same
        name = case.get("init_latent", "img2img/Euler/init_latent")
        init = torch.from_numpy(arrays[name]) if case["kind"] == "img2img" else None
    x = course.start(noise.first(), init, extra_noise=chosen.get("img2img_extra_noise", 0.0))
    with torch.inference_mode():
        for step in course.walk(Guidance(Prompted(predict, conds, unconds), args["cfg_scale"]), x, noise):
            assert 0 <= step.index < course.steps
            x = step.x
    return x


@pytest.mark.slow
@pytest.mark.parametrize(("file", "case"), list(_latent_cases()))
def test_a_walk_ends_at_the_references_latents(file: str, case: dict[str, Any], model: Model) -> None:
    def predict(x: torch.Tensor, timestep: float, context: Context) -> torch.Tensor:
        timesteps = torch.full((len(x),), timestep)
        return model.unet(x, timesteps, encoder_hidden_states=context.tokens, return_dict=False)[0]

    latents = _end(case, _course(case, model.alphas_cumprod), predict, model)
    with np.load(GOLDEN / f"{file}_latents.npz") as arrays:
        expected = arrays[case["latents"][0]["key"]]
    tolerance = NOISY_LATENTS if case["args"]["sampler_name"] in NOISY else LATENTS
    assert_latents_near(latents.numpy(), expected, tolerance)
