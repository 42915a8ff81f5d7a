"""The law of texts: what A1111 wrote into a picture, pasted here, plans the picture that it was made from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest

from modules.catalogue import resolve
from modules.params import Settings, make_request, parameters, parse_infotext, request_from_info, with_seed
from modules.pipeline import Plan, plan
from modules.prompt import ParsedPrompt

from .conftest import MODEL, Worker, golden

FILES = ("sampling", "sampling_img", "sampling_models")
BESIDE = (
    *("batch_size", "n_iter", "init_images", "mask", "resize_mode", "firstpass_image", "mask_blur_x", "mask_blur_y"),
    *("mask_round", "styles", "disable_extra_networks", "initial_noise_multiplier"),
)
"""What a text does not hold: pictures to start from, and how many were made."""

UNSAID: dict[str, str] = {
    "param/DPM++ SDE ensd": "ENSD, which this sampler's noise does not use",
    **dict.fromkeys(
        (
            f"param/UniPC {what}"
            for what in ("bh2", "vary_coeff", "skip time_quadratic", "skip logSNR", "order2", "nolower")
        ),
        "UniPC's options; texts written here have them",
    ),
    **dict.fromkeys(
        (f"prompt/{what}" for what in ("lora", "lora_two", "hypernet", "hypernet_lora", "lora_batch2_differs")),
        "tags: the reference was run without the part of A1111 that puts them back (P002)",
    ),
    "hires/lora": "tags: the reference was run without the part of A1111 that puts them back (P002)",
    "inpaint/blur0": "that there was a mask: the only key of this one is its blur, and that is 0",
    "inpaint/full_res_blank": "that an empty mask was to be masked only, which came to nothing",
}
"""Cases whose text does not say all that was asked for, and what it lacks."""


def _cases() -> Iterator[Any]:
    for file in FILES:
        for case in golden(f"{file}.json")["cases"]:
            if case.get("infotexts"):
                yield pytest.param(case, id=case["name"])


@pytest.mark.parametrize("case", list(_cases()))
def test_a_pasted_text_plans_the_picture_it_came_from(case: dict[str, Any], worker: Worker) -> None:
    # I010-I018, U010: "the same picture again"
    told = _first_alone(case)
    base = Settings(randn_source="CPU", live_previews_enable=False, sd_model_checkpoint=MODEL.stem)
    asked = base.overridden(case["opts"])
    expected = plan(with_seed(make_request(told), lambda n: 0), asked, worker.catalogue, worker.tokenizer)

    info = parse_infotext(case["infotexts"][0])
    pasted = resolve(request_from_info(info, case["kind"]), info, worker.catalogue)
    again = {**{name: told[name] for name in BESIDE if name in told}, **pasted.fields, "task": case["kind"]}
    unsaid = {name: getattr(asked, name) for name, each in parameters(Settings).items() if each.infotext is None}
    settings = base.overridden({**unsaid, **pasted.settings})
    found = plan(with_seed(make_request(again), lambda n: 0), settings, worker.catalogue, worker.tokenizer)

    assert bool(_differences(_plain(found), _plain(expected))) == (case["name"] in UNSAID)


def _first_alone(case: dict[str, Any]) -> dict[str, Any]:
    """The request for the first picture of a case."""
    args = {"subseed": 0, "seed": 0, **case["args"], "batch_size": 1, "n_iter": 1, "task": case["kind"]}
    for name in ("prompt", "negative_prompt", "seed", "subseed"):
        if isinstance(args.get(name), list):
            args[name] = args[name][0]
        if isinstance(args.get(name), str):  # A1111 takes the spaces at the ends of lines off when it reads
            args[name] = "\n".join(line.strip() for line in args[name].split("\n")).strip()
    if args.get("init_images"):
        args["init_images"] = args["init_images"][:1]
    return args


def _plain(made: Plan) -> Plan:
    """The plan without what makes no difference to the picture."""
    unused = not made.variation.strength
    batches = tuple(replace(batch, subseeds=(0,)) if unused else batch for batch in made.batches)
    return replace(made, batches=batches, notices=())


def _differences(found: Any, expected: Any, path: str = "") -> dict[str, tuple[Any, Any]]:
    """The parts of two values that are not equal, by where they are."""
    if found == expected:
        return {}
    if is_dataclass(found) and type(found) is type(expected) and not isinstance(found, ParsedPrompt):
        pairs = [(each.name, getattr(found, each.name), getattr(expected, each.name)) for each in fields(found)]
        return {key: value for name, a, b in pairs for key, value in _differences(a, b, f"{path}.{name}").items()}
    if isinstance(found, tuple) and isinstance(expected, tuple) and len(found) == len(expected):
        pairs = zip(range(len(found)), found, expected, strict=True)
        return {key: value for place, a, b in pairs for key, value in _differences(a, b, f"{path}[{place}]").items()}
    return {path: (found, expected)}


OWN: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "UniPC": (
        {"sampler_name": "UniPC"},
        {"uni_pc_variant": "bh2", "uni_pc_order": 2, "uni_pc_skip_type": "logSNR", "uni_pc_lower_order_final": False},
    ),
    "networks": (
        {"prompt": "a (cat:1.2), tisafe <lora:lin:0.5> <lora:loha:0.5:1>", "negative_prompt": "<lora:lin:1>"},
        {},
    ),
    "hypernetwork": ({"prompt": "[a:b:1] <hypernet:h_relu4:0.6>"}, {"emphasis": "No norm"}),
    "hires": (
        {
            "enable_hr": True,
            "hr_scale": 1.5,
            "hr_prompt": "a dog, blue",
            "hr_sampler_name": "DPM++ 2M",
            "hr_scheduler": "Karras",
            "denoising_strength": 0.6,
            "hr_second_pass_steps": 2,
        },
        {},
    ),
    "hires to a size": ({"enable_hr": True, "hr_resize_x": 96, "hr_upscaler": "Lanczos"}, {}),
    "variation": ({"subseed": 7, "subseed_strength": 0.3, "seed_resize_from_w": 96, "seed_resize_from_h": 64}, {}),
    "refiner": (
        {"refiner_checkpoint": "tiny_refiner", "refiner_switch_at": 0.5, "steps": 4},
        {"refiner_switch_by_sample_steps": True},
    ),
    "VAE": ({}, {"sd_vae": "tinyvae.safetensors"}),
    "options": (
        {"sampler_name": "DPM++ 2M", "scheduler": "Polyexponential", "tiling": True},
        {
            "rho": 2.0,
            "sigma_min": 0.1,
            "sigma_max": 10.0,
            "CLIP_stop_at_last_layers": 2,
            "randn_source": "NV",
            "s_min_uncond": 3.0,
            "skip_early_cond": 0.2,
            "sd_noise_schedule": "Zero Terminal SNR",
            "always_discard_next_to_last_sigma": True,
        },
    ),
    "ancestral": ({"sampler_name": "Euler a"}, {"eta_ancestral": 0.5, "eta_noise_seed_delta": 31337}),
    "beta": ({"scheduler": "Beta"}, {"beta_dist_alpha": 0.9, "beta_dist_beta": 0.4, "s_churn": 2.0}),
    "img2img": (
        {"task": "img2img", "init_images": ["inputs/init128.png"], "denoising_strength": 0.8},
        {"img2img_extra_noise": 0.1, "initial_noise_multiplier": 0.9},
    ),
    "inpainting": (
        {
            "task": "img2img",
            "init_images": ["inputs/init128.png"],
            "mask": "inputs/mask128.png",
            "mask_blur": 2,
            "inpainting_mask_invert": 1,
            "inpaint_full_res": 1,
            "inpaint_full_res_padding": 16,
            "inpainting_fill": 2,
        },
        {},
    ),
}


@pytest.mark.parametrize("case", OWN.values(), ids=OWN)
def test_a_text_written_here_plans_the_picture_again(
    case: tuple[dict[str, Any], dict[str, Any]], worker: Worker, draw: Any, make_plan: Any
) -> None:
    # I010-I013: parse(format(r)) == r, by way of a picture
    asked, options = {"width": 64, "height": 64, "steps": 3, "seed": 5, "cfg_scale": 6.5, **case[0]}, case[1]
    asked = {"subseed": 0, **asked}
    text = draw(settings=options, **asked).pictures[0].infotext
    expected = make_plan(settings=options, **asked)

    info = parse_infotext(text)
    task = asked.get("task", "txt2img")
    pasted = resolve(request_from_info(info, task), info, worker.catalogue)
    assert not pasted.notices
    again = {**{name: asked[name] for name in BESIDE if name in asked}, "task": task, **pasted.fields}
    found = make_plan(settings={**dict(pasted.settings)}, **again)
    assert _differences(_plain(found), _plain(expected)) == {}
