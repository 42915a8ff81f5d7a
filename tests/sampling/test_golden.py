"""Every sampler, schedule and option of theirs against the reference's latents, without the rest of the pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from modules.conditioning import encode
from modules.models import Model, load
from modules.params import find_sampler
from modules.prompt import Tokenizer, parse_prompt
from modules.sampling import (
    Context,
    Guidance,
    ImageNoise,
    Prompted,
    SamplerOptions,
    SigmaCourse,
    downcast,
    plot_course,
    zero_terminal_snr,
)

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
PLAIN = {"a cat sitting on a red chair"}
NOISY = {"DPM++ SDE", "DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 2S a", "DPM++ 3M SDE", "Euler a", "DPM2 a", "LCM"}
LATENTS, NOISY_LATENTS = 2e-3, 5e-3


def _cases() -> Iterator[Any]:
    """One run each of a single picture, with nothing in it that is not about sampling."""
    for file in ("sampling", "sampling_img", "sampling_models"):
        for case in golden(f"{file}.json")["cases"]:
            args, options = case["args"], case["opts"]
            if (
                case["name"].split("/")[0] in ("sampler", "sched", "sched11", "param", "img2img", "v", "prompt")
                and set(options) <= set(OPTIONS) | OTHERS
                and options.get("sd_model_checkpoint", "tiny_v") == "tiny_v"
                and len(case["latents"]) == 1
                and case["latents"][0]["shape"][0] == 1
                and args["prompt"] in PLAIN
                and not {"tiling", "s_min_uncond", "subseed", "seed_resize_from_w"} & set(args)
                and case["name"] not in ("img2img/noise_mult", "img2img/color_corr")
            ):
                yield pytest.param(file, case, id=case["name"])


@pytest.fixture(scope="module")
def model() -> Model:
    return load(GOLDEN / "model" / "tiny_sd1.safetensors")


def _run(file: str, case: dict[str, Any], model: Model) -> tuple[torch.Tensor, list[float], Any]:
    args, chosen = case["args"], case["opts"]
    alphas = model.alphas_cumprod
    if chosen.get("use_downcasted_alpha_bar"):
        alphas = downcast(alphas)
    if chosen.get("sd_noise_schedule"):
        alphas = zero_terminal_snr(alphas)
    asked: list[float] = []

    def predict(x: torch.Tensor, timestep: float, context: Context) -> torch.Tensor:
        asked.append(timestep)
        timesteps = torch.full((len(x),), timestep)
        return model.unet(x, timesteps, encoder_hidden_states=context.tokens, return_dict=False)[0]

    sampler, _ = find_sampler(args["sampler_name"])
    steps = args["steps"] * (2 if sampler.second_order else 1)
    conds, unconds = (
        encode(model, [parse_prompt(args[which], steps=steps)], tokenizer=Tokenizer())
        for which in ("prompt", "negative_prompt")
    )
    course = plot_course(
        args["sampler_name"],
        args["scheduler"],
        args["steps"],
        alphas,
        prediction="v" if "sd_model_checkpoint" in chosen else "epsilon",
        strength=args.get("denoising_strength") if case["kind"] == "img2img" else None,
        exactly=chosen.get("img2img_fix_steps", False),
        options=SamplerOptions(
            eta=args.get("eta"), **{OPTIONS[name]: value for name, value in chosen.items() if name in OPTIONS}
        ),
    )
    noise = ImageNoise(
        case["all_seeds"],
        case["latents"][0]["shape"][1:],
        chosen.get("randn_source", "CPU"),
        eta_delta=chosen.get("eta_noise_seed_delta", 0),
    )
    with np.load(GOLDEN / f"{file}_latents.npz") as arrays:
        init = torch.from_numpy(arrays[case["init_latent"]]) if case.get("init_latent") else None
    x = course.start(noise.first(), init, extra_noise=chosen.get("img2img_extra_noise", 0.0))
    with torch.inference_mode():
        for step in course.walk(Guidance(Prompted(predict, conds, unconds), args["cfg_scale"]), x, noise):
            assert 0 <= step.index < course.steps
            x = step.x
    return x, asked, course


@pytest.mark.parametrize(("file", "case"), list(_cases()))
def test_a_walk_ends_at_the_references_latents(file: str, case: dict[str, Any], model: Model) -> None:
    latents, asked, course = _run(file, case, model)
    np.testing.assert_allclose(asked, case["unet_t"], rtol=0, atol=2e-3)
    if isinstance(course, SigmaCourse):
        assert course.sigmas.tolist() == case["sigmas"][0][-len(course.sigmas) :]
    with np.load(GOLDEN / f"{file}_latents.npz") as arrays:
        expected = arrays[case["latents"][0]["key"]]
    error = np.abs(latents.numpy() - expected).max()
    tolerance = NOISY_LATENTS if case["args"]["sampler_name"] in NOISY else LATENTS
    assert error < tolerance
