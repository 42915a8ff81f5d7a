"""The list of A1111's own API tests (A013), with what they leave unasked: whether the answers are right."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from modules.params import parse_infotext

from .conftest import Program

Json = dict[str, Any]
COMPLEX = "((emphasis)), (emphasis1:1.1), [to:1], [from::2], [from:to:0.3], [alt|alt1]"
TXT2IMG: Json = {
    "batch_size": 1, "cfg_scale": 7, "denoising_strength": 0, "enable_hr": False, "eta": 0, "firstphase_height": 0,
    "firstphase_width": 0, "height": 64, "n_iter": 1, "negative_prompt": "", "prompt": "example prompt",
    "restore_faces": False, "s_churn": 0, "s_noise": 1, "s_tmax": 0, "s_tmin": 0, "sampler_index": "Euler a",
    "seed": -1, "seed_resize_from_h": -1, "seed_resize_from_w": -1, "steps": 3, "styles": [], "subseed": -1,
    "subseed_strength": 0, "tiling": False, "width": 64,
}  # fmt: skip
IMG2IMG: Json = {
    **{name: TXT2IMG[name] for name in TXT2IMG if not name.startswith(("enable_hr", "firstphase"))},
    "denoising_strength": 0.75, "include_init_images": False, "inpaint_full_res": False, "inpaint_full_res_padding": 0,
    "inpainting_fill": 0, "inpainting_mask_invert": False, "mask": None, "mask_blur": 4, "override_settings": {},
    "resize_mode": 0,
}  # fmt: skip


class Made:
    """An answer with its pictures opened and its info read."""

    def __init__(self, answer: Json) -> None:
        self.parameters: Json = answer["parameters"]
        self.info: Json = json.loads(answer["info"])
        self.images = [Image.open(io.BytesIO(base64.b64decode(text))) for text in answer["images"]]
        assert [image.info["parameters"] for image in self.images] == self.info["infotexts"]

    @property
    def fields(self) -> Json:
        return dict(parse_infotext(self.info["infotexts"][0]).fields)

    @property
    def pixels(self) -> np.ndarray:
        return np.asarray(self.images[0].convert("RGB"), np.int16)


def make(program: Program, task: str, payload: Json, **fields: Any) -> Made:
    answer = program.post(f"/sdapi/v1/{task}", **{**payload, **fields})
    assert answer.status_code == 200, answer.text
    made = Made(answer.json())
    assert made.info["ignored"] == []
    return made


def draw(program: Program, **fields: Any) -> Made:
    return make(program, "txt2img", TXT2IMG, **fields)


def redraw(program: Program, **fields: Any) -> Made:
    return make(program, "img2img", {**IMG2IMG, "init_images": [uri(START)]}, **fields)


def uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def start() -> Image.Image:
    image = Image.linear_gradient("L").resize((64, 64)).convert("RGB")
    ImageDraw.Draw(image).ellipse((8, 8, 40, 40), "orange")
    return image


START = start()
MASK = Image.new("RGB", (64, 64))
MASK.paste("white", (16, 16, 48, 48))


def test_simple(shared: Program) -> None:
    made = draw(shared)
    assert [image.size for image in made.images] == [(64, 64)]
    assert made.images[0].format == "PNG"
    assert made.info["all_prompts"] == ["example prompt"]
    assert made.info["seed"] == made.info["all_seeds"][0] == int(made.fields["Seed"]) >= 0
    assert (made.fields["Steps"], made.fields["Sampler"], made.fields["CFG scale"]) == ("3", "Euler a", "7.0")
    assert (made.fields["Size"], made.info["sd_model_name"]) == ("64x64", "tiny_sd1")
    assert made.parameters.items() >= TXT2IMG.items()
    again = draw(shared, seed=made.info["seed"])
    assert (again.pixels == made.pixels).all()


def test_negative_prompt(shared: Program) -> None:
    plain, made = draw(shared, seed=5), draw(shared, seed=5, negative_prompt="example negative prompt")
    assert made.info["negative_prompt"] == "example negative prompt"
    assert made.info["infotexts"][0].startswith("example prompt\nNegative prompt: example negative prompt\nSteps: 3,")
    assert (made.pixels != plain.pixels).any()


def test_complex_prompt(shared: Program) -> None:
    plain, made = draw(shared, seed=5), draw(shared, seed=5, prompt=COMPLEX)
    assert made.info["infotexts"][0].startswith(COMPLEX + "\nSteps: 3,")
    assert made.info["notices"] == []
    assert (made.pixels != plain.pixels).any()


def test_not_square(shared: Program) -> None:
    made = draw(shared, height=128)
    assert made.images[0].size == (64, 128)
    assert (made.info["width"], made.info["height"], made.fields["Size"]) == (64, 128, "64x128")


def test_hires_fix(shared: Program) -> None:
    made = draw(shared, enable_hr=True, denoising_strength=0.75)
    assert made.images[0].size == (128, 128)
    assert made.info["denoising_strength"] == 0.75
    assert made.fields["Hires upscale"] == "2.0"
    assert made.fields["Hires upscaler"] == "Latent"


def test_tiling(shared: Program) -> None:
    plain, made = draw(shared, seed=5), draw(shared, seed=5, tiling=True)
    assert made.fields["Tiling"] == "True"
    assert (made.pixels != plain.pixels).any()


def test_faces_are_not_restored_and_that_is_said(shared: Program) -> None:
    plain = draw(shared, seed=5)
    answer = shared.post("/sdapi/v1/txt2img", **TXT2IMG | {"restore_faces": True, "seed": 5})
    made = Made(answer.json())
    assert (made.pixels == plain.pixels).all()
    assert made.info["ignored"] == ["restore_faces"]
    assert "Faces are not restored" in made.info["notices"][0]


@pytest.mark.parametrize("sampler", ["PLMS", "DDIM", "UniPC"])
def test_samplers(shared: Program, sampler: str) -> None:
    made = draw(shared, seed=5, sampler_index=sampler)
    assert made.info["sampler_name"] == made.fields["Sampler"] == sampler
    assert (made.pixels != draw(shared, seed=5).pixels).any()


def test_several_batches_and_a_large_one_are_the_same_pictures(shared: Program) -> None:
    batches, batch = draw(shared, seed=5, n_iter=2), draw(shared, seed=5, batch_size=2)
    assert batches.info["all_seeds"] == batch.info["all_seeds"] == [5, 6]
    assert (batches.info["batch_size"], batch.info["batch_size"]) == (1, 2)
    for one, other in zip(batches.images, batch.images, strict=True):
        assert np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16)).max() <= 1


def test_a_saved_batch_has_its_grid_first(shared: Program) -> None:
    made = draw(shared, seed=5, batch_size=2, save_images=True)
    assert [image.size for image in made.images] == [(128, 64), (64, 64), (64, 64)]
    assert made.info["index_of_first_image"] == 1
    together = np.concatenate([np.asarray(image) for image in made.images[1:]], axis=1)
    assert (np.asarray(made.images[0]) == together).all()


def test_img2img(shared: Program) -> None:
    made = redraw(shared, seed=5)
    assert made.images[0].size == (64, 64)
    assert made.info["denoising_strength"] == 0.75
    assert made.fields["Denoising strength"] == "0.75"
    assert made.parameters["init_images"] is None
    assert (made.pixels != np.asarray(START)).any()


@pytest.mark.parametrize("inverted", [False, True])
def test_masks(shared: Program, inverted: bool) -> None:
    made = redraw(shared, seed=5, mask=uri(MASK), inpainting_mask_invert=inverted, mask_blur=0)
    changed = (made.pixels != np.asarray(START)).any(axis=2)
    inside = np.asarray(MASK.convert("L")) > 127
    assert changed[~inside if inverted else inside].mean() > 0.9
    assert not changed[inside if inverted else ~inside].any()
    assert made.fields.get("Mask mode", "Inpaint masked") == ("Inpaint not masked" if inverted else "Inpaint masked")
    assert made.parameters["mask"] is None


def test_sd_upscale(shared: Program) -> None:
    made = redraw(shared, seed=5, script_name="sd upscale", script_args=["", 8, "Lanczos", 2.0])
    assert [image.size for image in made.images] == [(128, 128)]
    assert made.info["all_seeds"] == [5]
    assert made.fields["SD upscale overlap"] == "8"
    assert made.fields["SD upscale upscaler"] == "Lanczos"


def test_sd_upscale_stays_near_the_enlarged_picture_by_its_strength(shared: Program) -> None:
    model = {"sd_model_checkpoint": "tagbrush-mini"}
    larger = np.asarray(START.resize((128, 128), Image.Resampling.LANCZOS), np.int16)
    distances = []
    for strength in (0.2, 0.95):
        made = redraw(
            shared, seed=5, steps=6, prompt="a lemon", script_name="sd upscale", script_args=["", 8, "Lanczos", 2.0],
            denoising_strength=strength, override_settings=model,
        )  # fmt: skip
        distances.append(np.abs(made.pixels - larger).mean())
    assert distances[0] < distances[1]


def test_extras(shared: Program) -> None:
    answer = shared.post(
        "/sdapi/v1/extra-single-image", resize_mode=0, upscaling_resize=2, upscaling_resize_w=128,
        upscaling_resize_h=128, upscaling_crop=True, upscaler_1="Lanczos", upscaler_2="None", image=uri(START),
        gfpgan_visibility=0, codeformer_visibility=0, codeformer_weight=0, extras_upscaler_2_visibility=0,
    )  # fmt: skip
    image = Image.open(io.BytesIO(base64.b64decode(answer.json()["image"])))
    assert image.tobytes() == START.resize((128, 128), Image.Resampling.LANCZOS).tobytes()


def test_an_option_is_written_and_read_back(shared: Program) -> None:
    before = shared.http.get("/sdapi/v1/options").json()
    try:
        assert shared.post("/sdapi/v1/options", send_seed=not before["send_seed"]).status_code == 200
        assert shared.http.get("/sdapi/v1/options").json() == {**before, "send_seed": not before["send_seed"]}
    finally:
        shared.post("/sdapi/v1/options", send_seed=before["send_seed"])


@pytest.mark.parametrize(
    ("route", "holds"),
    [
        ("cmd-flags", lambda flags: "lora_dir" in flags),
        ("samplers", lambda items: {"Euler a", "DPM++ 2M", "PLMS"} <= {item["name"] for item in items}),
        ("upscalers", lambda items: [item["name"] for item in items] == ["None", "Lanczos", "Nearest"]),
        ("latent-upscale-modes", lambda items: items[0] == {"name": "Latent"}),
        ("sd-models", lambda items: any(item["model_name"] == "tiny_sd1" for item in items)),
        ("sd-vae", lambda items: any(item["model_name"] == "half.safetensors" for item in items)),
        ("hypernetworks", lambda items: any(item["name"] == "h_relu4" for item in items)),
        ("loras", lambda items: any(item["name"] == "lin" for item in items)),
        ("embeddings", lambda lists: lists["loaded"]["ti"]["shape"] == 64),
        ("face-restorers", lambda items: items == []),
        ("realesrgan-models", lambda items: items == []),
        ("prompt-styles", lambda items: isinstance(items, list)),
        ("extensions", lambda items: items == []),
        ("scripts", lambda lists: "sd upscale" in lists["img2img"]),
        ("script-info", lambda items: any(item["name"] == "sd upscale" for item in items)),
        ("schedulers", lambda items: any(item["label"] == "Karras" for item in items)),
        ("memory", lambda memory: memory["ram"]["total"] > 0),
        ("progress", lambda progress: progress["state"]["job_count"] == 0),
    ],
)
def test_lists(shared: Program, route: str, holds: Any) -> None:
    answer = shared.http.get(f"/sdapi/v1/{route}")
    assert answer.status_code == 200
    assert holds(answer.json()), answer.json()


def test_soft_inpainting_is_asked_for_as_an_always_on_script(shared: Program) -> None:
    asked: Json = {"seed": 5, "mask": uri(MASK), "mask_blur": 8, "inpainting_fill": 1}
    plain = redraw(shared, **asked)
    made = redraw(shared, **asked, alwayson_scripts={"Soft Inpainting": {"args": [True, 1, 0.5, 4, 0, 0.5, 2]}})
    off = redraw(shared, **asked, alwayson_scripts={"Soft Inpainting": {"args": [False, 1, 0.5, 4, 0, 0.5, 2]}})
    assert made.fields["Soft inpainting enabled"] == "True"
    assert (made.pixels != plain.pixels).any()
    assert (off.pixels == plain.pixels).all()
