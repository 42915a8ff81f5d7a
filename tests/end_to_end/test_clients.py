"""What well-known programs ask of A1111's API, in their order and with their fields, and what they read of the answers.

Each test is one program: SillyTavern, Open WebUI, Cyanic's plug-in for Krita, the Auto-Photoshop plug-in, and two
Discord bots (aiyabot, and stable-diffusion-discord-bot, which is strict about types).
"""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from .conftest import Program

Json = dict[str, Any]
ALL_FIELDS = {"width": 64, "height": 64, "steps": 3, "seed": 21}
SIZE = {"width": 64, "height": 64}


@pytest.fixture
def options(shared: Program) -> Iterator[Json]:
    """The options, which are put back after the test."""
    before = get(shared, "options")
    yield before
    post(shared, "options", before)


def get(program: Program, route: str) -> Any:
    answer = program.http.get(f"/sdapi/v1/{route}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def post(program: Program, route: str, payload: Json) -> Any:
    answer = program.post(f"/sdapi/v1/{route}", **payload)
    assert answer.status_code == 200, answer.text
    return answer.json()


def opened(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text)))


def raw(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"), np.int16)


def mask() -> Image.Image:
    image = Image.new("L", (64, 64))
    image.paste(255, (16, 16, 48, 48))
    return image


def photoshop_settings(text: str) -> Json:
    """The infotext as the Photoshop plug-in takes it apart: the last line by commas and colons."""
    prompt, _, line = text.rpartition("\n")
    found = dict(part.strip().split(": ", 1) for part in line.split(",") if ": " in part)
    found["prompt"], _, found["negative_prompt"] = prompt.partition("Negative prompt: ")
    return found


def test_sillytavern(shared: Program, options: Json) -> None:
    assert "forge_preset" not in options
    names = [item["name"] for item in get(shared, "upscalers")]
    names[1:1] = [item["name"] for item in get(shared, "latent-upscale-modes")]
    assert names[:2] == ["None", "Latent"]
    assert "half.safetensors" in [item["model_name"] for item in get(shared, "sd-vae")]
    assert shared.http.get("/sdapi/v1/sd-modules").status_code == 404  # by which it tells Forge
    assert "karras" in [item["name"] for item in get(shared, "schedulers")]
    title = next(item["title"] for item in get(shared, "sd-models") if item["model_name"] == "tiny_sd1")
    post(shared, "options", {"sd_model_checkpoint": title})
    shared.until(lambda: get(shared, "progress")["state"]["job_count"] == 0)
    payload = {
        "url": shared.served.url, "auth": "", "prompt": "a cat", "negative_prompt": "ink", "sampler_name": "Euler a",
        "scheduler": "karras", "cfg_scale": 7, "restore_faces": False, "enable_hr": True, "hr_upscaler": "Lanczos",
        "hr_scale": 2, "hr_additional_modules": [], "denoising_strength": 0.7, "hr_second_pass_steps": 0,
        "override_settings": {"CLIP_stop_at_last_layers": 2, "sd_vae": "half.safetensors"},
        "override_settings_restore_afterwards": True, "clip_skip": 2, "save_images": True, "send_images": True,
        "do_not_save_grid": False, "do_not_save_samples": False, **ALL_FIELDS,
    }  # fmt: skip
    answer = post(shared, "txt2img", payload)
    info = json.loads(answer["info"])
    assert [opened(image).size for image in answer["images"]] == [(128, 128)]
    assert (info["clip_skip"], info["sd_vae_name"], info["seed"]) == (2, "half.safetensors", 21)
    assert "Schedule type: Karras" in info["infotexts"][0]
    assert get(shared, "options")["CLIP_stop_at_last_layers"] == 1


def test_sillytavern_stops_what_runs_when_its_user_leaves(shared: Program) -> None:
    answers: list[Any] = []
    payload = {"prompt": "a cat", **ALL_FIELDS, "steps": 3000}
    waiting = threading.Thread(target=lambda: answers.append(shared.post("/sdapi/v1/txt2img", **payload)))
    waiting.start()
    shared.until(lambda: get(shared, "progress")["state"]["sampling_step"] > 2)
    assert post(shared, "interrupt", {}) == {}
    waiting.join(180)
    assert answers[0].status_code == 200
    assert len(answers[0].json()["images"]) == 1


def test_open_webui(shared: Program, options: Json) -> None:
    models = {item["title"]: item["model_name"] for item in get(shared, "sd-models")}
    title = next(title for title, name in models.items() if name == "tagbrush-mini")
    assert options["sd_model_checkpoint"] != title
    assert post(shared, "options", {**options, "sd_model_checkpoint": title}) is None
    assert get(shared, "options")["sd_model_checkpoint"] == title
    payload = {
        "prompt": "a red apple", "batch_size": 2, **SIZE, "steps": 4, "negative_prompt": "ink",
        "cfg_scale": 3.5, "sampler_name": "Euler a", "scheduler": "Automatic",
    }  # fmt: skip
    answer = post(shared, "txt2img", payload)
    info = json.loads(answer["info"])
    assert [opened(image).size for image in answer["images"]] == [(64, 64)] * 2
    assert (info["sd_model_name"], info["cfg_scale"], info["index_of_first_image"]) == ("tagbrush-mini", 3.5, 0)


def test_cyanic_for_krita(shared: Program, options: Json) -> None:
    assert shared.http.get("/queue/status").json()["queue_size"] == 0
    assert {"title", "model_name"} <= get(shared, "sd-models")[0].keys()
    assert isinstance(options["img2img_color_correction"], bool)
    assert isinstance(options["sd_vae"], str)
    assert get(shared, "scripts").keys() == {"txt2img", "img2img"}
    model = options["sd_model_checkpoint"]
    common = {
        "prompt": "a cat", "negative_prompt": "", "sampler_name": "DPM++ 2M Karras", "cfg_scale": 7.5, "n_iter": 1,
        "batch_size": 1, "override_settings": {"sd_model_checkpoint": model, "img2img_color_correction": False},
        "override_settings_restore_afterwards": False, "refiner_start": 0.8, "seed_list": [], "CYANIC": {},
        "alwayson_scripts": {}, **ALL_FIELDS,
    }  # fmt: skip
    drawn = opened(post(shared, "txt2img", common)["images"][0])
    inpaint = {
        **common, "init_images": [raw(drawn)], "mask": raw(mask()), "mask_blur": 4, "inpainting_mask_invert": 0,
        "inpainting_fill": 1, "inpaint_full_res": 1, "inpaint_full_res_padding": 8, "resize_mode": 1,
        "denoising_strength": 0.9, "include_init_images": False,
    }  # fmt: skip
    answer = post(shared, "img2img", inpaint)
    changed = (pixels(opened(answer["images"][0])) != pixels(drawn)).any(axis=2)
    assert changed[24:40, 24:40].any()
    assert not changed[:4].any()
    assert "Inpaint area: Only masked, Masked area padding: 8" in json.loads(answer["info"])["infotexts"][0]
    enlarge = {
        "resize_mode": 1, "upscaling_resize": 2.0, "upscaling_resize_w": 96, "upscaling_resize_h": 128,
        "upscaling_crop": True, "upscaler_1": "Lanczos", "image": raw(drawn), "override_settings": {},
        "override_settings_restore_afterwards": False,
    }  # fmt: skip
    assert opened(post(shared, "extra-single-image", enlarge)["image"]).size == (96, 128)
    assert shared.post("/sdapi/v1/interrogate", image=raw(drawn), model="clip").status_code == 422


def test_auto_photoshop(shared: Program, options: Json) -> None:
    payload = {
        "prompt": "a cat", "negative_prompt": "ink, blur", "steps": 3, "n_iter": 1, "sampler_index": "Euler a",
        "width": 64, "height": 96, "denoising_strength": 0.7, "batch_size": 2, "cfg_scale": 7, "seed": "21",
        "use_prompt_shortcut": False, "mask_blur": 8, "use_sharp_mask": False, "mask_expansion": 3,
        "restore_faces": False, "enable_hr": False, "hr_upscaler": "Latent", "hr_second_pass_steps": 0,
        "uniqueDocumentId": "3ec7", "backend_type": "auto1111", "script_name": None, "script_args": [],
        "alwayson_scripts": {}, "styles": [], "inpaint_full_res": False, "inpaint_full_res_padding": 0,
        "inpainting_fill": 1, "hr_resize_x": 64,
    }  # fmt: skip
    answer = post(shared, "txt2img", payload)
    read: list[Json] = []
    for image in answer["images"]:
        told = post(shared, "png-info", {"image": "data:image/png;base64," + image})
        read.append(photoshop_settings(told["info"]))
    assert [found["Seed"] for found in read] == ["21", "22"]
    assert [found["Size"] for found in read] == ["64x96"] * 2
    assert read[0]["prompt"].strip() == "a cat"
    post(shared, "options", {"inpainting_mask_weight": 0.5})
    assert get(shared, "options")["inpainting_mask_weight"] == 0.5
    inpaint = {**payload, "init_images": [answer["images"][0]], "mask": raw(mask().resize((64, 96))), "batch_size": 1}
    result = post(shared, "img2img", {**inpaint, "inpainting_mask_invert": False, "resize_mode": 0, "mask_blur": 0})
    changed = (pixels(opened(result["images"][0])) != pixels(opened(answer["images"][0]))).any(axis=2)
    assert changed.any()
    assert not changed[:20].any()
    told = get(shared, "progress?skip_current_image=false")
    assert (told["progress"], told["current_image"], told["state"]["job_count"]) == (0, None, 0)


def test_aiyabot(shared: Program, options: Json) -> None:
    assert shared.http.get("/sdapi/v1/cmd-flags").status_code == 200
    shared.http.post("/login")  # whose answer it does not read
    assert "Euler a" in [item["name"] for item in get(shared, "samplers")]
    assert all({"name", "prompt", "negative_prompt"} <= item.keys() for item in get(shared, "prompt-styles"))
    lists = get(shared, "embeddings")
    assert all(isinstance(item["shape"], int) for kind in ("loaded", "skipped") for item in lists[kind].values())
    model = next(item for item in get(shared, "sd-models") if item["model_name"] == "tiny_sd1")
    assert isinstance(model["filename"], str)
    post(shared, "options", {"sd_model_checkpoint": model["title"]})
    payload = {
        "prompt": "a cat <lora:lin:0.85>", "negative_prompt": "", "steps": 3, "cfg_scale": "7.0",
        "sampler_index": "Euler a", "seed": 21, "seed_resize_from_h": -1, "seed_resize_from_w": -1,
        "denoising_strength": None, "n_iter": 2, "batch_size": 1, "enable_hr": False,
        "override_settings": {"CLIP_stop_at_last_layers": 1},
        "styles": [""], **SIZE,
    }  # fmt: skip
    answer = post(shared, "txt2img", payload)
    assert len(answer["images"]) == 2
    assert json.loads(answer["info"])["notices"] == []
    for number, image in enumerate(answer["images"]):
        told = post(shared, "png-info", {"image": "data:image/png;base64," + image.split(",", 1)[0]})
        assert f"Seed: {21 + number}," in told["info"]
        assert "<lora:lin:0.85>" in told["parameters"]["Prompt"]
    enlarge = {
        "upscaling_resize": 1.5, "upscaler_1": "Nearest", "image": "data:image/png;base64," + answer["images"][0],
        "gfpgan_visibility": 0.0, "codeformer_visibility": 0.0, "upscale_first": False, "upscaler_2": "Lanczos",
        "extras_upscaler_2_visibility": 0.5,
    }  # fmt: skip
    assert opened(post(shared, "extra-single-image", enlarge)["image"]).size == (96, 96)


def test_a_discord_bot_that_is_strict_about_types(shared: Program) -> None:
    payload = {
        "prompt": "a cat", "negative_prompt": "", "width": 64, "height": 64, "restore_faces": False, "enable_hr": False,
        "denoising_strength": 0, "batch_size": 2, "seed": -1, "subseed": 7, "subseed_strength": 0.1,
        "sampler_name": "Euler a", "cfg_scale": 9.0, "steps": 3, "n_iter": 1,
    }  # fmt: skip
    answer = post(shared, "txt2img", payload)
    info = json.loads(answer["info"])
    assert isinstance(info["seed"], int)
    assert all(type(seed) is int for seed in (*info["all_seeds"], *info["all_subseeds"]))
    assert len(answer["images"]) == len(info["all_seeds"]) == len(info["all_subseeds"]) == 2
    assert info["all_subseeds"] == [7, 8]
    misspelt = {"resize_mode": 0, "upscaling_resize": 4, "upscaler1": "ESRGAN_4x", "image": answer["images"][0]}
    assert opened(post(shared, "extra-single-image", misspelt)["image"]).size == (64, 64)
