"""The texts of other programs, in the words of A1111's."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.params import format_infotext, make_request, request_from_info, request_from_infotext
from modules.params.foreign import read_foreign

SIZE = (768, 1024)


def read(items: dict[str, Any], size: tuple[int, int] = SIZE) -> tuple[str, Any]:
    """Program and infotext of the texts, where what is no text is written as JSON."""
    found = read_foreign({key: v if isinstance(v, str) else json.dumps(v) for key, v in items.items()}, size)
    assert found is not None
    return found


NOVELAI = {
    "Title": "AI generated image",
    "Description": "1girl, {smile}",
    "Software": "NovelAI",
    "Source": "Stable Diffusion 81274D13",
    "Comment": {
        "steps": 28,
        "sampler": "k_euler_ancestral",
        "seed": 1234567890,
        "strength": 0.69,
        "scale": 11.0,
        "uc": "lowres",
    },
}


def test_novelais_picture_is_read_with_clip_skip_2_and_its_noise_seed_delta() -> None:
    # T001
    program, info = read(NOVELAI)
    assert program == "NovelAI"
    assert format_infotext(info) == (
        "1girl, {smile}\nNegative prompt: lowres\nSteps: 28, Sampler: Euler a, CFG scale: 11, Seed: 1234567890, "
        "Size: 768x1024, Clip skip: 2, ENSD: 31337, Version: NovelAI"
    )


def test_novelais_fourth_model_keeps_its_prompts_in_captions() -> None:
    # T001
    caption = {
        "caption": {"base_caption": "a street", "char_captions": [{"char_caption": "a girl"}, {"char_caption": ""}]}
    }
    comment = {
        "v4_prompt": caption,
        "steps": 20,
        "scale": 5,
        "seed": 3,
        "width": 832,
        "height": 1216,
        "sampler": "k_dpmpp_2m",
        "noise_schedule": "karras",
    }
    _, info = read({"Software": "NovelAI", "Comment": comment})
    assert info.prompt == "a street, a girl"
    assert (info.fields["Sampler"], info.fields["Schedule type"], info.fields["Size"]) == (
        "DPM++ 2M",
        "Karras",
        "832x1216",
    )


def sampler(**changes: Any) -> dict[str, Any]:
    inputs = {
        "seed": 1102676403634909,
        "steps": 20,
        "cfg": 8.0,
        "sampler_name": "dpmpp_2m_sde_gpu",
        "scheduler": "karras",
        "denoise": 1.0,
        "model": ["4", 0],
        "positive": ["6", 0],
        "negative": ["7", 0],
        "latent_image": ["5", 0],
    }
    return {"class_type": "KSampler", "inputs": inputs | changes}


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


BASIC = {
    "3": sampler(),
    "4": node("CheckpointLoaderSimple", ckpt_name="sd15\\dream shaper.safetensors"),
    "5": node("EmptyLatentImage", width=512, height=768, batch_size=1),
    "6": node("CLIPTextEncode", text="(cat:1.2), embedding:EasyPositive.pt, tree", clip=["4", 1]),
    "7": node("CLIPTextEncode", text="blurry", clip=["4", 1]),
    "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
    "9": node("SaveImage", filename_prefix="ComfyUI", images=["8", 0]),
}


def test_comfyuis_graph_is_followed_from_the_picture_to_what_made_it() -> None:
    program, info = read({"prompt": BASIC})
    assert program == "ComfyUI"
    assert format_infotext(info) == (
        "(cat:1.2), EasyPositive, tree\nNegative prompt: blurry\nSteps: 20, Sampler: DPM++ 2M SDE, "
        "Schedule type: Karras, CFG scale: 8, Seed: 1102676403634909, Size: 512x768, Model: dream shaper, RNG: CPU, "
        "Version: ComfyUI"
    )


def test_comfyuis_loras_become_tags_in_the_order_in_which_they_are_applied() -> None:
    graph = BASIC | {
        "3": sampler(model=["11", 0]),
        "10": node(
            "LoraLoader",
            model=["4", 0],
            clip=["4", 1],
            lora_name="a/ink.safetensors",
            strength_model=0.8,
            strength_clip=0.5,
        ),
        "11": node("LoraLoaderModelOnly", model=["12", 0], lora_name="gold.safetensors", strength_model=0.4),
        "12": node(
            "Power Lora Loader (rgthree)",
            model=["10", 0],
            lora_1={"on": True, "lora": "pen.safetensors", "strength": 1},
            lora_2={"on": False, "lora": "off.safetensors", "strength": 1},
        ),
    }
    _, info = read({"prompt": graph})
    assert info.prompt.endswith("tree<lora:ink:0.5:0.8><lora:pen:1><lora:gold:0:0.4>")
    assert info.fields["Model"] == "dream shaper"


def test_comfyuis_custom_samplers_are_put_together_from_their_parts() -> None:
    graph = BASIC | {
        "3": node(
            "SamplerCustomAdvanced",
            noise=["20", 0],
            guider=["21", 0],
            sampler=["22", 0],
            sigmas=["23", 0],
            latent_image=["5", 0],
        ),
        "20": node("RandomNoise", noise_seed=["24", 0]),
        "21": node("CFGGuider", model=["4", 0], positive=["6", 0], negative=["7", 0], cfg=5.5),
        "22": node("KSamplerSelect", sampler_name="euler_ancestral"),
        "23": node("BasicScheduler", model=["4", 0], scheduler="sgm_uniform", steps=12, denoise=1.0),
        "24": node("PrimitiveInt", value=77),
    }
    _, info = read({"prompt": graph})
    found = {key: info.fields[key] for key in ("Steps", "Sampler", "Schedule type", "CFG scale", "Seed", "Model")}
    assert found == {
        "Steps": "12",
        "Sampler": "Euler a",
        "Schedule type": "SGM Uniform",
        "CFG scale": "5.5",
        "Seed": "77",
        "Model": "dream shaper",
    }
    assert info.prompt.startswith("(cat:1.2)")


def test_comfyuis_second_pass_is_hires_fix() -> None:
    graph = BASIC | {
        "30": node("LatentUpscaleBy", samples=["3", 0], upscale_method="nearest-exact", scale_by=1.5),
        "31": sampler(latent_image=["30", 0], denoise=0.55, steps=14, seed=5),
        "8": node("VAEDecode", samples=["31", 0], vae=["4", 2]),
        "32": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "33": node("PreviewImage", images=["32", 0]),
    }
    _, info = read({"prompt": graph}, (768, 1152))
    assert info.fields["Size"] == "512x768"
    fields = request_from_info(info).fields
    assert {
        name: fields[name]
        for name in (
            "enable_hr",
            "denoising_strength",
            "hr_resize_x",
            "hr_resize_y",
            "hr_second_pass_steps",
            "hr_upscaler",
            "seed",
            "hr_sampler_name",
        )
    } == {
        "enable_hr": True,
        "denoising_strength": 0.55,
        "hr_resize_x": 768,
        "hr_resize_y": 1152,
        "hr_second_pass_steps": 14,
        "hr_upscaler": "Latent (nearest-exact)",
        "seed": 1102676403634909,
        "hr_sampler_name": "",
    }


def test_comfyuis_second_model_is_the_refiner() -> None:
    graph = BASIC | {
        "3": node("KSamplerAdvanced", **(sampler(noise_seed=9, start_at_step=0, end_at_step=16)["inputs"])),
        "40": node("CheckpointLoaderSimple", ckpt_name="refiner.safetensors"),
        "41": node("KSamplerAdvanced", **(sampler(model=["40", 0], latent_image=["3", 0], start_at_step=16)["inputs"])),
        "8": node("VAEDecode", samples=["41", 0], vae=["4", 2]),
    }
    _, info = read({"prompt": graph})
    assert (info.fields["Refiner"], info.fields["Refiner switch at"]) == ("refiner", "0.8")


def test_comfyuis_conditionings_are_joined_as_they_act() -> None:
    graph = BASIC | {
        "3": sampler(positive=["50", 0], negative=["52", 0]),
        "50": node("ConditioningCombine", conditioning_1=["6", 0], conditioning_2=["51", 0]),
        "51": node("CLIPTextEncodeSDXL", text_g=["53", 0], text_l=["53", 0], clip=["54", 0]),
        "52": node("ConditioningZeroOut", conditioning=["6", 0]),
        "53": node("StringConcatenate", string_a="a dog", string_b="a house", delimiter=" "),
        "54": node("CLIPSetLastLayer", clip=["4", 1], stop_at_clip_layer=-2),
        "55": node("VAELoader", vae_name="vae\\kl-f8.safetensors"),
    }
    _, info = read({"prompt": graph})
    assert info.prompt == "(cat:1.2), EasyPositive, tree AND a dog a house"
    assert info.negative_prompt == ""
    assert (info.fields["Clip skip"], info.fields["VAE"]) == ("2", "kl-f8.safetensors")


def test_comfyuis_drawing_is_read_where_what_ran_is_not_there() -> None:
    workflow = {
        "nodes": [
            {
                "id": 3,
                "type": "KSampler",
                "widgets_values": [42, "randomize", 25, 6.5, "euler", "normal", 1],
                "inputs": [
                    {"name": "model", "link": 1},
                    {"name": "positive", "link": 4},
                    {"name": "negative", "link": 6},
                    {"name": "latent_image", "link": 2},
                ],
            },
            {"id": 4, "type": "CheckpointLoaderSimple", "widgets_values": ["v1-5.ckpt"]},
            {"id": 5, "type": "EmptyLatentImage", "widgets_values": [640, 512, 1]},
            {"id": 6, "type": "CLIPTextEncode", "widgets_values": ["a house"], "inputs": [{"name": "clip", "link": 3}]},
            {"id": 7, "type": "CLIPTextEncode", "widgets_values": ["text"], "inputs": [{"name": "clip", "link": 5}]},
            {"id": 9, "type": "SaveImage", "widgets_values": ["ComfyUI"], "inputs": [{"name": "images", "link": 8}]},
        ],
        "links": [
            [1, 4, 0, 3, 0, "MODEL"],
            [2, 5, 0, 3, 3, "LATENT"],
            [3, 4, 1, 6, 0, "CLIP"],
            [4, 6, 0, 3, 1, "C"],
            [5, 4, 1, 7, 0, "CLIP"],
            [6, 7, 0, 3, 2, "C"],
            [8, 3, 0, 9, 0, "IMAGE"],
        ],
    }
    _, info = read({"workflow": workflow})
    assert format_infotext(info) == (
        "a house\nNegative prompt: text\nSteps: 25, Sampler: Euler, Schedule type: Normal, CFG scale: 6.5, Seed: 42, "
        "Size: 640x512, Model: v1-5, RNG: CPU, Version: ComfyUI"
    )


def test_invokeais_picture_is_read() -> None:
    metadata = {
        "generation_mode": "sdxl_txt2img",
        "positive_prompt": "dark painting",
        "negative_prompt": "frame",
        "width": 832,
        "height": 1216,
        "seed": 1554095076,
        "rand_device": "cpu",
        "cfg_scale": 15.0,
        "steps": 50,
        "scheduler": "dpmpp_2m_k",
        "clip_skip": 1,
        "model": {"name": "xl_v10", "base": "sdxl", "type": "main"},
        "loras": [{"model": {"name": "ink"}, "weight": 0.75}],
        "app_version": "5.4.3",
    }
    program, info = read({"invokeai_metadata": metadata})
    assert program == "InvokeAI"
    assert format_infotext(info) == (
        "dark painting<lora:ink:0.75>\nNegative prompt: frame\nSteps: 50, Sampler: DPM++ 2M, Schedule type: Karras, "
        "CFG scale: 15, Seed: 1554095076, Size: 832x1216, Model: xl_v10, Clip skip: 2, RNG: CPU, Version: InvokeAI"
    )


def test_invokeais_first_format_is_read() -> None:
    image = {
        "prompt": [{"prompt": "a cat [blurry]", "weight": 1.0}],
        "steps": 30,
        "cfg_scale": 7.5,
        "seed": 9,
        "sampler": "k_lms",
        "width": 512,
        "height": 640,
    }
    _, info = read({"sd-metadata": {"model_weights": "sd-1.5", "image": image}})
    assert (info.prompt, info.negative_prompt, info.fields["Sampler"]) == ("a cat", "blurry", "LMS")


def test_swarmuis_picture_is_read() -> None:
    said = {
        "prompt": "a photo",
        "negativeprompt": "text",
        "model": "XL/juggernaut.safetensors",
        "seed": 305223794,
        "steps": 25,
        "cfgscale": 6.0,
        "width": 1024,
        "height": 768,
        "sampler": "dpmpp_2m",
        "scheduler": "karras",
        "loras": ["style/ink", "pen"],
        "loraweights": ["0.5"],
        "variationseed": 5,
        "variationseedstrength": 0.2,
    }
    program, info = read({"parameters": {"sui_image_params": said}})
    assert program == "SwarmUI"
    assert info.prompt == "a photo<lora:ink:0.5><lora:pen:1>"
    assert (info.fields["Model"], info.fields["Size"], info.fields["Variation seed"]) == ("juggernaut", "1024x768", "5")


def test_fooocus_picture_is_read() -> None:
    said = {
        "prompt": "a photo",
        "negative_prompt": "text",
        "base_model": "juggernaut",
        "base_model_hash": "aeb7e9e6897a1e58",
        "seed": "123",
        "steps": 30,
        "guidance_scale": 4.0,
        "resolution": "(1152, 896)",
        "sampler": "dpmpp_2m_sde_gpu",
        "scheduler": "karras",
        "loras": [["offset", 0.1, "4852686128"]],
        "version": "Fooocus v2.5.5",
    }
    program, info = read({"parameters": said, "fooocus_scheme": "fooocus"})
    assert program == "Fooocus"
    assert info.prompt == "a photo<lora:offset:0.1>"
    assert (info.fields["Model hash"], info.fields["Size"], info.fields["Seed"]) == ("aeb7e9e689", "1152x896", "123")


SDNEXT = (
    "photo <lora:ink:1.0>\nNegative prompt: anime\nSteps: 10, Seed: 1003952981, Sampler: DPM++ 2M, CFG scale: 4, "
    "Size: 768x1152, Parser: Full parser, Model: talesV1, Model hash: f758af2038, Backend: Diffusers, App: SD.Next, "
    "Version: 900264a, Operations: upscale; hires; txt2img, Hires force: True, Hires steps: 25, Hires upscaler: None, "
    "Hires upscale: 1.5, Hires resize: 0x0, Hires size: 1152x1728, Denoising strength: 0.5, Hires sampler: DPM++ 2M, "
    "Image CFG scale: 4, CFG rescale: 0.7"
)
FORGE = (
    "a cat\nSteps: 20, Sampler: Euler, Schedule type: Simple, CFG scale: 7, Distilled CFG Scale: 3.5, Seed: 5, "
    "Size: 896x1152, Model hash: bea01d51bd, Model: sdxl, Version: f2.0.1v1.10.1-previous-313-g8a042934, "
    'Module 1: ae, Lora hashes: "ink: 0123456789ab"'
)
CIVITAI = (
    "a cat\nNegative prompt: ugly\nSteps: 25, Sampler: DPM++ 2M Karras, CFG scale: 3.5, Seed: 5, Size: 832x1216, "
    'Clip skip: 2, Created Date: 2024-08-29T0814:17.9931471Z, Civitai resources: [{"type":"checkpoint",'
    '"modelVersionId":290640,"modelName":"Pony","modelVersionName":"V6 XL"},{"type":"lora","weight":0.6,'
    '"modelVersionId":9}], Civitai metadata: {}'
)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        (
            SDNEXT,
            {
                "steps": 10,
                "seed": 1003952981,
                "width": 768,
                "enable_hr": True,
                "hr_scale": 1.5,
                "hr_second_pass_steps": 25,
                "hr_upscaler": "None",
                "hr_resize_x": 0,
            },
        ),
        (FORGE, {"steps": 20, "sampler_name": "Euler", "scheduler": "Simple", "width": 896, "cfg_scale": 7.0}),
        (CIVITAI, {"steps": 25, "sampler_name": "DPM++ 2M", "scheduler": "Karras", "seed": 5, "height": 1216}),
    ],
    ids=["SD.Next", "Forge", "Civitai"],
)
def test_kin_of_a1111_write_its_text_and_are_read_as_it(text: str, fields: dict[str, Any]) -> None:
    assert read_foreign({"parameters": text}, SIZE) is None
    pasted = request_from_infotext(text)
    assert {name: pasted.fields.get(name) for name in fields} == fields
    make_request(pasted.fields)


ATOMS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.sampled_from(list(BASIC))
)
JSON = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.one_of(st.text(max_size=8), st.sampled_from(["inputs", "class_type", "nodes", "links"])), inner
        ),
    ),
    max_leaves=20,
)
KNOWN_KEYS = (
    "prompt",
    "workflow",
    "parameters",
    "Comment",
    "Software",
    "invokeai_metadata",
    "sd-metadata",
    "Description",
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(KNOWN_KEYS), st.one_of(JSON.map(json.dumps), st.text(), st.just("NovelAI"))))
def test_no_texts_are_too_odd_to_read(items: dict[str, str]) -> None:
    found = read_foreign(items, SIZE)
    if found:
        make_request(request_from_info(found[1]).fields)


@settings(deadline=None)
@given(
    st.sampled_from(list(BASIC)), st.sampled_from(sorted({key for n in BASIC.values() for key in n["inputs"]})), JSON
)
def test_any_input_of_a_graph_may_be_anything(place: str, name: str, value: Any) -> None:
    graph = BASIC | {place: {**BASIC[place], "inputs": {**BASIC[place]["inputs"], name: value}}}
    found = read_foreign({"prompt": json.dumps(graph)}, SIZE)
    if found:
        make_request(request_from_info(found[1]).fields)


@settings(deadline=None)
@given(
    st.sampled_from(["steps", "scale", "uc", "seed", "sampler", "strength", "width", "v4_prompt", "noise_schedule"]),
    JSON,
)
def test_any_value_of_novelais_may_be_anything(name: str, value: Any) -> None:
    comment = {**NOVELAI["Comment"], name: value}  # type: ignore[dict-item]
    found = read_foreign({**NOVELAI, "Comment": json.dumps(comment)}, SIZE)  # type: ignore[arg-type]
    if found:
        make_request(request_from_info(found[1]).fields)


def ladder(rungs: int) -> dict[str, Any]:
    """A graph in which each node names the one before twice: 2^rungs ways lead to the first."""
    steps = {
        f"s{i}": node("ConditioningCombine", conditioning_1=[f"s{i + 1}", 0], conditioning_2=[f"s{i + 1}", 0])
        for i in range(rungs)
    }
    return BASIC | steps | {f"s{rungs}": BASIC["6"], "3": sampler(positive=["s0", 0])}


@pytest.mark.parametrize(
    "graph",
    [
        ladder(90),
        BASIC | {"3": sampler(latent_image=["3", 0], model=["3", 0], positive=["3", 0], seed=["3", 0])},
        {str(i): sampler(latent_image=[str(i + 1), 0], positive=[str(i + 1), 0]) for i in range(20_000)},
        BASIC
        | {"6": node("CLIPTextEncode", **{f"text_{i % 9 + 1}" if i < 9 else f"x{i}": ["6", 0] for i in range(50_000)})},
    ],
    ids=["a ladder", "a loop", "a long chain", "a wide node"],
)
def test_a_graph_without_an_end_is_read_in_a_moment(graph: dict[str, Any]) -> None:
    text = json.dumps(graph)
    begun = time.process_time()
    read_foreign({"prompt": text}, SIZE)
    assert time.process_time() - begun < 3


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 200_000, '{"steps": ' + "9" * 10_000 + "}", "{" + "x" * 100])
@pytest.mark.parametrize("key", KNOWN_KEYS)
def test_json_that_is_too_deep_or_broken_is_no_json(key: str, text: str) -> None:
    assert read_foreign({"Software": "NovelAI", key: text}, SIZE) is None
