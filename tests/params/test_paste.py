"""A text's way back to the controls: every field, every setting, and names of samplers as A1111 reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from modules.params import (
    HIRES_UPSCALERS,
    SAMPLERS,
    SCHEDULES,
    Img2ImgRequest,
    Infotext,
    Param,
    Settings,
    Txt2ImgRequest,
    UnknownName,
    format_infotext,
    make_request,
    parameters,
    request_from_infotext,
    sampler_and_schedule,
)

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
NAMES = json.loads((GOLDEN / "infotext.json").read_text(encoding="utf-8"))["sampler_and_scheduler"]
TEXTS = [case["text"] for case in json.loads((GOLDEN / "infotext.json").read_text(encoding="utf-8"))["infotext"]]

OURS = {"euler": "Euler", "k_euler": "Euler", "Euler SGM Uniform": "Euler"}
"""Names for which A1111 takes its first sampler, and what they mean here (U009: aliases and joined names work)."""

KNOWN = [row for row in NAMES if row["sampler"] not in (*OURS, "nonsense", None)]


@pytest.mark.parametrize("row", KNOWN, ids=lambda row: f"{row['sampler']}, {row['scheduler']}")
def test_sampler_and_schedule_are_named_as_a1111_names_them(row: dict[str, Any]) -> None:
    # U009
    for automatic, key in ((True, "convert_automatic"), (False, "no_convert")):
        assert list(sampler_and_schedule(row["sampler"], row["scheduler"], automatic=automatic)) == row[key]


@pytest.mark.parametrize(
    "row", [row for row in NAMES if row["sampler"] in OURS], ids=lambda row: f"{row['sampler']}, {row['scheduler']}"
)
def test_where_a1111_takes_its_first_sampler_an_alias_or_joined_name_is_understood(row: dict[str, Any]) -> None:
    # U009
    sampler, schedule = sampler_and_schedule(row["sampler"], row["scheduler"], automatic=False)
    joined = row["sampler"] == "Euler SGM Uniform"
    assert (sampler, schedule) == (OURS[row["sampler"]], "SGM Uniform" if joined else row["no_convert"][1])


def test_a_name_of_no_sampler_is_refused_rather_than_replaced() -> None:
    # U009
    with pytest.raises(UnknownName):
        sampler_and_schedule("nonsense", None)


@pytest.mark.parametrize("text", TEXTS[9:], ids=range(9, len(TEXTS)))
def test_every_text_of_the_reference_makes_a_request_without_a_notice(text: str) -> None:
    for task in ("txt2img", "img2img"):
        pasted = request_from_infotext(text, task)
        assert not pasted.notices
        make_request({**pasted.fields, "task": task})
        known = {
            name: value for name, value in pasted.settings.items() if name not in ("sd_model_checkpoint", "sd_vae")
        }
        Settings().overridden(known)


def paste(written: str, task: str = "txt2img", prompt: str = "p") -> Any:
    return request_from_infotext(f"{prompt}\nSteps: 20, Sampler: Euler, CFG scale: 7.0, Seed: 1, {written}", task)


@pytest.mark.parametrize(
    ("written", "fields"),
    [
        (
            "Size: 64x64, Denoising strength: 0.7, Hires upscale: 2.0, Hires steps: 5, Hires upscaler: Lanczos",
            {"enable_hr": True, "denoising_strength": 0.7, "hr_scale": 2.0, "hr_second_pass_steps": 5, "width": 64,
             "hr_upscaler": "Lanczos", "hr_sampler_name": "", "hr_scheduler": "", "hr_resize_x": 0, "hr_resize_y": 0,
             "hr_checkpoint_name": ""},
        ),
        (
            "Denoising strength: 0.5, Hires resize: 120x0, Hires upscaler: Latent (nearest-exact)",
            {"enable_hr": True, "hr_resize_x": 120, "hr_resize_y": 0, "hr_upscaler": "Latent (nearest-exact)"},
        ),
        (
            'Denoising strength: 0.5, Hires upscale: 2, Hires prompt: "a, b: c", Hires negative prompt: ugly',
            {"hr_prompt": "a, b: c", "hr_negative_prompt": "ugly"},
        ),
        (
            "Denoising strength: 0.5, Hires upscale: 2, Hires sampler: DPM++ 2M Karras",
            {"hr_sampler_name": "DPM++ 2M", "hr_scheduler": "Karras"},
        ),
        (
            "Denoising strength: 0.5, Hires upscale: 2, Hires checkpoint: tiny [0dfbbba5d3], "
            "Hires schedule type: Karras",
            {"hr_checkpoint_name": "tiny [0dfbbba5d3]", "hr_sampler_name": "", "hr_scheduler": "Karras"},
        ),
        ("Denoising strength: 0.5", {"enable_hr": False}),
        (
            "Size: 768x512, First pass size: 0x0, Denoising strength: 0.5",
            {"enable_hr": True, "width": 640, "height": 448, "hr_resize_x": 768, "hr_resize_y": 512,
             "hr_upscaler": "Latent"},
        ),
        (
            "Variation seed: 5, Variation seed strength: 0.2, Seed resize from: 64x96",
            {"subseed": 5, "subseed_strength": 0.2, "seed_resize_from_w": 64, "seed_resize_from_h": 96},
        ),
        ("Model: a", {"subseed_strength": 0.0, "seed_resize_from_w": 0, "seed_resize_from_h": 0, "tiling": False}),
        ("Tiling: True", {"tiling": True}),
        (
            "Refiner: r [0123456789], Refiner switch at: 0.6",
            {"refiner_checkpoint": "r [0123456789]", "refiner_switch_at": 0.6},
        ),
    ],
)  # fmt: skip
def test_a_text_sets_every_field_of_txt2img_that_it_names(written: str, fields: dict[str, Any]) -> None:
    # I013
    found = paste(written)
    assert {name: found.fields.get(name) for name in fields} == fields
    assert not found.notices


@pytest.mark.parametrize(
    ("written", "fields"),
    [
        (
            "Denoising strength: 0.75, Mask mode: Inpaint not masked, Mask blur: 12, Inpaint area: Only masked, "
            "Masked area padding: 8, Masked content: latent noise",
            {"denoising_strength": 0.75, "inpainting_mask_invert": 1, "mask_blur": 12, "inpaint_full_res": 1,
             "inpaint_full_res_padding": 8, "inpainting_fill": 2},
        ),
        (
            "Denoising strength: 0.75, Mask blur: 4",
            {"inpainting_mask_invert": 0, "inpaint_full_res": 0, "inpaint_full_res_padding": 32, "inpainting_fill": 1},
        ),
        ("Denoising strength: 0.75, Masked content: fill", {"mask_blur": 0, "inpainting_fill": 0}),
        ("Image CFG scale: 1.5", {"image_cfg_scale": 1.5, "mask_blur": None}),
    ],
)  # fmt: skip
def test_a_text_sets_every_field_of_img2img_that_it_names(written: str, fields: dict[str, Any]) -> None:
    # I013
    found = paste(written, "img2img")
    assert {name: found.fields.get(name) for name in fields} == fields
    assert not found.notices


@pytest.mark.parametrize(
    ("written", "name", "value"),
    [
        ("Clip skip: 2", "CLIP_stop_at_last_layers", 2),
        ("ENSD: 31337", "eta_noise_seed_delta", 31337),
        ("RNG: CPU", "randn_source", "CPU"),
        ("RNG: GPU", "randn_source", "NV"),
        ("Eta: 0.5", "eta_ancestral", 0.5),
        ("Eta DDIM: 1.0", "eta_ddim", 1.0),
        ("Sigma churn: 5.0", "s_churn", 5.0),
        ("Sigma tmin: 0.5", "s_tmin", 0.5),
        ("Sigma tmax: 10.0", "s_tmax", 10.0),
        ("Sigma noise: 1.01", "s_noise", 1.01),
        ("Schedule min sigma: 0.1", "sigma_min", 0.1),
        ("Schedule max sigma: 10.0", "sigma_max", 10.0),
        ("Schedule rho: 5.0", "rho", 5.0),
        ("Beta schedule alpha: 0.9", "beta_dist_alpha", 0.9),
        ("Beta schedule beta: 0.4", "beta_dist_beta", 0.4),
        ("Discard penultimate sigma: True", "always_discard_next_to_last_sigma", True),
        ("SGM noise multiplier: True", "sgm_noise_multiplier", True),
        ("UniPC variant: bh2", "uni_pc_variant", "bh2"),
        ("UniPC skip type: logSNR", "uni_pc_skip_type", "logSNR"),
        ("UniPC order: 2", "uni_pc_order", 2),
        ("UniPC lower order final: False", "uni_pc_lower_order_final", False),
        ("NGMS: 3.0", "s_min_uncond", 3.0),
        ("NGMS all steps: True", "s_min_uncond_all", True),
        ("Skip Early CFG: 0.3", "skip_early_cond", 0.3),
        ("Pad conds: True", "pad_cond_uncond", True),
        ("Pad conds v0: True", "pad_cond_uncond_v0", True),
        ("Noise Schedule: Zero Terminal SNR", "sd_noise_schedule", "Zero Terminal SNR"),
        ("Downcast alphas_cumprod: True", "use_downcasted_alpha_bar", True),
        ("Emphasis: No norm", "emphasis", "No norm"),
        ("Old prompt editing timelines: True", "use_old_scheduling", True),
        ("Extra noise: 0.1", "img2img_extra_noise", 0.1),
        ("Noise multiplier: 0.8", "initial_noise_multiplier", 0.8),
        ("Conditional mask weight: 0.5", "inpainting_mask_weight", 0.5),
        ("Token merging ratio: 0.5", "token_merging_ratio", 0.5),
        ("Token merging ratio hr: 0.5", "token_merging_ratio_hr", 0.5),
        ("Hires refiner: first pass", "hires_fix_refiner_pass", "first pass"),
        ("Refiner switch by sampling steps: True", "refiner_switch_by_sample_steps", True),
        ("Model hash: 3b44911865, Model: tiny", "sd_model_checkpoint", "3b44911865"),
        ("Model: tiny", "sd_model_checkpoint", "tiny"),
        ("VAE hash: c9f22cc9f1, VAE: tinyvae.safetensors", "sd_vae", "tinyvae.safetensors"),
    ],
)
def test_a_text_sets_every_setting_that_it_names_and_the_others_to_their_defaults(
    written: str, name: str, value: Any
) -> None:
    # I012, I013, I017, U010
    found = paste(written)
    assert found.settings[name] == value
    assert not found.notices
    others = {key: each for key, each in found.settings.items() if key not in (name, "sd_model_checkpoint", "sd_vae")}
    assert others == {key: getattr(Settings(), key) for key in others}


def test_what_is_not_part_of_this_program_is_told() -> None:
    found = paste("Face restoration: CodeFormer, ADetailer model: face.pt, ControlNet 0: x, VAE Decoder: TAESD")
    assert "Face restoration, VAE Decoder, ControlNet, ADetailer" in found.notices[0]


def test_an_upscaler_that_is_not_here_is_told_and_another_taken() -> None:
    found = paste("Denoising strength: 0.5, Hires upscale: 2, Hires upscaler: 4x-Zigzag")
    assert "4x-Zigzag" in found.notices[0]
    assert found.fields["hr_upscaler"] == "Latent"


@pytest.mark.parametrize(
    ("written", "name", "value"),
    [
        ("Denoising strength: 0.5, Hires upscale: 2, Hires upscaler: 4x-Zigzag", "hr_upscaler", "Latent"),
        ("Denoising strength: 0.5, Hires upscale: 2, Hires sampler: Zigzag", "hr_sampler_name", ""),
        ("Variation seed strength: 5", "subseed_strength", 0.0),
        ("Clip skip: 99", "CLIP_stop_at_last_layers", 1),
    ],
)
def test_of_what_cannot_be_used_nobody_is_told_that_its_control_stays_as_it_is(
    written: str, name: str, value: Any
) -> None:
    found = paste(written)
    assert (found.fields | found.settings)[name] == value  # what the control held before is gone
    assert found.notices[0].endswith("passed over.")


ODD_KEYS = (
    "Steps", "Sampler", "Schedule type", "CFG scale", "Seed", "Size", "Clip skip", "Hires upscale", "Mask blur",
    "Hires resize", "Denoising strength", "Hires sampler", "First pass size", "Version", "RNG", "Hires schedule type",
    "Refiner", "Tiling", "Masked content", "ENSD", "Model hash", "VAE", "Hypernet", "AddNet Model 1",
)  # fmt: skip
ODD_VALUES = st.one_of(
    st.text(min_size=1), st.floats().map(str), st.integers().map(str), st.sampled_from(["1x1", "0x0"])
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(st.sampled_from(ODD_KEYS), ODD_VALUES))
def test_whatever_a_text_says_what_is_taken_from_it_can_be_submitted(fields: dict[str, str]) -> None:
    text = format_infotext(Infotext("p", "", {**fields, "Aa": "1", "Bb": "2", "Cc": "3"}))
    for task in ("txt2img", "img2img"):
        pasted = request_from_infotext(text, task)
        make_request({**pasted.fields, "task": task})
        Settings().overridden({k: v for k, v in pasted.settings.items() if k not in ("sd_model_checkpoint", "sd_vae")})


# The round trip: any request and settings, written under their keys, come back.

PROMPTS = st.from_regex(r"[a-zéß<>()\[\]:.,#\"0-9 ]{0,30}", fullmatch=True).map(str.strip)
SPECIAL = {
    "sampler_name": st.sampled_from([sampler.name for sampler in SAMPLERS]),
    "scheduler": st.sampled_from([schedule.label for schedule in SCHEDULES]),
    "hr_sampler_name": st.sampled_from(["", *(sampler.name for sampler in SAMPLERS)]),
    "hr_scheduler": st.sampled_from(["", *(schedule.label for schedule in SCHEDULES)]),
    "hr_upscaler": st.sampled_from(HIRES_UPSCALERS),
    "hr_checkpoint_name": st.sampled_from(["", "other [0123456789]"]),
    "refiner_checkpoint": st.sampled_from(["", "refiner, with: signs [0123456789]"]),
    "hr_prompt": PROMPTS,
    "hr_negative_prompt": PROMPTS,
    "randn_source": st.sampled_from(["NV", "CPU"]),
    "seed": st.integers(0, 2**64 - 1),
    "seed_resize_from_w": st.integers(0, 8192),  # -1 is another way to say none, which is not written
    "seed_resize_from_h": st.integers(0, 8192),
    "subseed": st.integers(0, 2**64 - 1),
}


def values(declared: Param) -> st.SearchStrategy[Any]:
    """Any value that a parameter may have, as its text gives it back exactly."""
    if declared.name in SPECIAL:
        return SPECIAL[declared.name]
    if declared.names:
        return st.integers(0, len(declared.names) - 1)
    if isinstance(declared.choices, tuple):
        return st.sampled_from(declared.choices)
    if declared.kind is bool:
        return st.booleans()
    low, high = declared.ge or 0, declared.le or 1
    if declared.kind is int:
        return st.integers(int(low), int(high))
    return st.floats(low, high, allow_nan=False)


def keyed(group: type) -> dict[str, Param]:
    return {name: each for name, each in parameters(group).items() if each.infotext}


def everything(group: type) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({name: values(each) for name, each in keyed(group).items()})


def written(group: type, found: dict[str, Any]) -> dict[str, str]:
    """The fields of a text for these values: sides joined, names for numbers, what is empty left out."""
    fields: dict[str, str] = {}
    for name, each in keyed(group).items():
        value = each.names[found[name]] if each.names else found[name]
        if value != "":
            fields[each.infotext or ""] = str(value)
    for key in [key.removesuffix("-1") for key in fields if key.endswith("-1")]:
        fields[key] = f"{fields.pop(f'{key}-1')}x{fields.pop(f'{key}-2')}"
    return fields


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(PROMPTS, PROMPTS, st.sampled_from([Txt2ImgRequest, Img2ImgRequest]), st.data())
def test_what_is_written_of_a_request_and_its_settings_is_read_back(
    prompt: str, negative: str, group: type, data: st.DataObject
) -> None:
    # I010-I013: parse(format(r)) == r
    assume(not negative.startswith("Negative prompt:"))
    asked, options = data.draw(everything(group)), data.draw(everything(Settings))
    text = format_infotext(Infotext(prompt, negative, {**written(group, asked), **written(Settings, options)}))
    pasted = request_from_infotext(text, "img2img" if group is Img2ImgRequest else "txt2img")
    assert (pasted.fields["prompt"], pasted.fields["negative_prompt"]) == (prompt, negative)
    assert {name: pasted.fields.get(name) for name in asked} == asked
    assert {name: pasted.settings[name] for name in options} == options
    assert not pasted.notices
