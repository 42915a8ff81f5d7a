"""A1111's API as its PyPI client uses it, with real pictures behind it."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import numpy as np
import pytest
from PIL import Image
from webuiapi import HiResUpscaler, WebUIApi

from .conftest import Program

SIZE = {"width": 64, "height": 64}
FEW = {**SIZE, "steps": 3, "seed": 21}


@pytest.fixture(scope="module")
def client(shared: Program) -> WebUIApi:
    return WebUIApi(baseurl=f"{shared.served.url}/sdapi/v1")


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("RGB"), np.int16)


@pytest.mark.parametrize("tag", ["<lora:lin:0.8>", "<hypernet:h_relu4:1>", "tipt3"])
def test_a_network_in_the_prompt_changes_the_picture(client: WebUIApi, tag: str) -> None:
    plain = client.txt2img(prompt="a cat", **FEW)
    changed = client.txt2img(prompt=f"a cat {tag}", **FEW)
    assert plain.image.size == changed.image.size == (64, 64)
    assert (pixels(plain.image) != pixels(changed.image)).any()
    assert changed.info["all_prompts"] == [f"a cat {tag}"]
    assert changed.info["notices"] == []
    assert changed.image.info["parameters"] == changed.info["infotexts"][0]


def test_what_the_client_sends_unasked_is_not_called_ignored(client: WebUIApi) -> None:
    assert client.txt2img(prompt="a cat", **FEW).info["ignored"] == []
    picture = client.txt2img(prompt="a cat", **FEW).image
    assert client.img2img(images=[picture], prompt="a cat", **FEW).info["ignored"] == []


def test_a_picture_drawn_again_stays_near_it_by_its_strength(client: WebUIApi) -> None:
    fields = {"width": 128, "height": 128, "steps": 8, "cfg_scale": 3}
    fields["override_settings"] = {"sd_model_checkpoint": "tagbrush-mini"}
    picture = client.txt2img(prompt="a red apple on a blue background", seed=1, **fields).image
    distances: list[float] = []
    for strength in (0.2, 0.95):
        result = client.img2img(images=[picture], prompt="a lemon", denoising_strength=strength, seed=2, **fields)
        assert result.info["denoising_strength"] == strength
        distances.append(np.abs(pixels(result.image) - pixels(picture)).mean())
    assert distances[0] < distances[1]


def test_hires_fix_enlarges_and_says_how(client: WebUIApi) -> None:
    plain = client.txt2img(prompt="a cat", **FEW)
    asked = {"enable_hr": True, "hr_scale": 1.5, "hr_upscaler": HiResUpscaler.Lanczos, "denoising_strength": 0.4}
    large = client.txt2img(prompt="a cat", **FEW, **asked, hr_second_pass_steps=4)
    assert large.image.size == (96, 96)
    assert np.abs(pixels(large.image.resize((64, 64))) - pixels(plain.image)).mean() < 60
    text = large.info["infotexts"][0]
    assert "Denoising strength: 0.4" in text
    assert "Hires upscale: 1.5, Hires steps: 4, Hires upscaler: Lanczos" in text
    assert large.info["ignored"] == []


def test_only_what_a_mask_marks_is_made_anew(client: WebUIApi) -> None:
    picture = client.txt2img(prompt="a cat", **FEW).image
    mask = Image.new("L", (64, 64))
    mask.paste(255, (16, 16, 48, 48))
    asked = {"mask_image": mask, "mask_blur": 2, "inpainting_fill": 1, "inpaint_full_res": False}
    result = client.img2img(images=[picture], prompt="a dog", denoising_strength=0.9, **asked, **FEW)
    changed = (pixels(result.image) != pixels(picture)).any(axis=2)
    assert changed[24:40, 24:40].any()
    assert not changed[:8].any()
    assert not changed[:, 56:].any()
    assert "Mask blur: 2" in result.info["infotexts"][0]
    assert result.info["ignored"] == []


def test_a_variation_keeps_the_seed_and_counts_its_own(client: WebUIApi) -> None:
    plain = client.txt2img(prompt="a cat", **FEW)
    varied = client.txt2img(prompt="a cat", **FEW, subseed=5, subseed_strength=0.2, batch_size=2)
    assert varied.info["all_seeds"] == [21, 21]
    assert varied.info["all_subseeds"] == [5, 6]
    assert "Variation seed: 5, Variation seed strength: 0.2" in varied.info["infotexts"][0]
    assert all((pixels(image) != pixels(plain.image)).any() for image in varied.images)


def test_the_same_seed_makes_the_same_picture_and_another_another(client: WebUIApi) -> None:
    first, again = (client.txt2img(prompt="a cat", **FEW) for _ in range(2))
    other = client.txt2img(prompt="a cat", **{**FEW, "seed": 22})
    assert (pixels(first.image) == pixels(again.image)).all()
    assert (pixels(first.image) != pixels(other.image)).any()
    drawn = client.txt2img(prompt="a cat", **{**FEW, "seed": -1}).info["seed"]
    assert drawn >= 0


def test_a_batch_lists_its_seeds_and_texts(client: WebUIApi) -> None:
    result = client.txt2img(prompt="a cat", **FEW, batch_size=2, n_iter=2)
    assert len(result.images) == 4
    assert result.info["all_seeds"] == [21, 22, 23, 24]
    assert result.info["index_of_first_image"] == 0
    for seed, text, picture in zip(result.info["all_seeds"], result.info["infotexts"], result.images, strict=True):
        assert f"Seed: {seed}," in text
        assert picture.info["parameters"] == text


def test_a_text_read_from_a_picture_makes_that_picture_again(shared: Program, client: WebUIApi) -> None:
    original = client.txt2img(
        prompt='a "cat", (blue:1.2) <lora:lin:0.7>',
        negative_prompt="a tipt3",
        sampler_name="DPM++ 2M Karras",
        scheduler=None,
        cfg_scale=4.5,
        override_settings={"CLIP_stop_at_last_layers": 2},
        **FEW,
    )
    told = client.png_info(original.image).info
    assert told == original.info["infotexts"][0]
    parsed = shared.post("/tagbrush/v1/infotext/parse", text=told).json()
    assert parsed["notices"] == []
    job = shared.end(_submitted(shared, {**parsed["fields"], "override_settings": parsed["settings"]}))
    assert job["pictures"][0]["infotext"] == told
    assert (shared.pixels(job)[0] == pixels(original.image)).all()

    sent = shared.post("/sdapi/v1/txt2img", infotext=told).json()
    assert json.loads(sent["info"])["infotexts"] == [told]


def _submitted(shared: Program, fields: dict[str, Any]) -> str:
    answer = shared.post("/tagbrush/v1/jobs", task="txt2img", **fields)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def test_fifty_steps_and_euler_are_the_apis_own_defaults(shared: Program) -> None:
    answer = shared.post("/sdapi/v1/txt2img", prompt="a cat", seed=1, **SIZE).json()
    text = json.loads(answer["info"])["infotexts"][0]
    assert "Steps: 50, Sampler: Euler, " in text
    assert "CFG scale: 7" in text


def test_fields_that_nothing_acts_on_are_named(shared: Program) -> None:
    answer = shared.post("/sdapi/v1/txt2img", prompt="a cat", **FEW, restore_faces=True, unheard_of=1, enable_hr=False)
    assert json.loads(answer.json()["info"])["ignored"] == ["restore_faces", "unheard_of"]


def test_progress_is_read_while_a_picture_is_made(client: WebUIApi) -> None:
    idle = client.get_progress()
    assert (idle["progress"], idle["state"]["job_count"]) == (0, 0)
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(client.txt2img(prompt="a cat", **{**FEW, "steps": 3000})))
    thread.start()
    try:
        seen = _until(client, lambda progress: progress["state"]["sampling_step"] > 2 and progress["current_image"])
        assert 0 < seen["progress"] < 1
        assert seen["eta_relative"] > 0
        assert seen["state"]["sampling_steps"] == 3000
        assert seen["state"]["job_count"] == 1
    finally:
        client.interrupt()
        thread.join(180)
    assert not thread.is_alive()
    assert len(results[0].images) == 1
    assert client.get_progress()["state"]["job_count"] == 0


def _until(client: WebUIApi, holds: Any) -> dict[str, Any]:
    deadline = time.monotonic() + 180
    while not holds(progress := client.get_progress()):
        assert time.monotonic() < deadline, progress
        time.sleep(0.02)
    return progress


def test_options_are_kept_until_they_are_put_back(client: WebUIApi) -> None:
    before = client.get_options()
    assert before["sd_model_checkpoint"].startswith("tiny_sd1")
    client.set_options({"CLIP_stop_at_last_layers": 2})
    try:
        assert client.get_options()["CLIP_stop_at_last_layers"] == 2
        assert "Clip skip: 2" in client.txt2img(prompt="a cat", **FEW).info["infotexts"][0]
    finally:
        client.set_options({"CLIP_stop_at_last_layers": 1})
    once = client.txt2img(prompt="a cat", **FEW, override_settings={"CLIP_stop_at_last_layers": 2})
    assert "Clip skip: 2" in once.info["infotexts"][0]
    assert "Clip skip" not in client.txt2img(prompt="a cat", **FEW).info["infotexts"][0]
    assert client.get_options() == before


def test_the_checkpoint_is_chosen_by_any_of_its_names(client: WebUIApi) -> None:
    titles = client.util_get_model_names()
    mini = next(title for title in titles if title.startswith("tagbrush-mini"))
    for name in (mini, "tagbrush-mini", mini.split(" [")[0]):
        result = client.txt2img(prompt="a red apple", **FEW, override_settings={"sd_model_checkpoint": name})
        assert result.info["sd_model_name"] == "tagbrush-mini"
        assert len(result.info["sd_model_hash"]) == 10
    assert client.util_get_current_model().startswith("tiny_sd1")


def test_lists_have_the_shapes_that_clients_read(client: WebUIApi) -> None:
    assert {"name", "aliases", "options"} == client.get_samplers()[0].keys()
    assert "Euler a" in client.util_get_sampler_names()
    assert {"name", "label", "aliases", "default_rho", "need_inner_model"} == client.get_schedulers()[0].keys()
    assert "karras" in client.util_get_scheduler_names()
    keys = {"title", "model_name", "hash", "sha256", "filename", "config"}
    assert all(keys == model.keys() for model in client.get_sd_models())
    loras = {lora["name"]: lora for lora in client.get_loras()}
    assert {"name", "alias", "path", "metadata"} == loras["lin"].keys()
    assert "h_relu4" in [network["name"] for network in client.get_hypernetworks()]
    embeddings = client.get_embeddings()
    assert embeddings["loaded"]["tipt3"]["vectors"] == 3
    assert embeddings["loaded"]["tipt3"]["shape"] == 64
    assert {"step", "sd_checkpoint", "sd_checkpoint_name", "shape", "vectors"} == embeddings["loaded"]["ti"].keys()


def test_an_embedding_for_another_model_is_among_those_skipped(client: WebUIApi) -> None:
    embeddings = client.get_embeddings()
    assert embeddings["loaded"].keys() >= {"ti", "tipt3", "tibin2d"}
    assert embeddings["skipped"].keys() >= {"wrongdim", "xlstyle", "codeword"}


def test_pictures_are_saved_only_when_asked_for(shared: Program, client: WebUIApi) -> None:
    def count() -> int:
        return len(list((shared.data / "outputs" / "txt2img-images").rglob("*.png")))

    before = count()
    client.txt2img(prompt="a cat", **FEW)
    assert count() == before
    client.txt2img(prompt="a cat", **FEW, save_images=True)
    assert count() == before + 1
    result = client.txt2img(prompt="a cat", **FEW, save_images=True, send_images=False)
    assert result.images == []
    assert count() == before + 2


def test_refreshing_answers(client: WebUIApi, shared: Program) -> None:
    client.refresh_checkpoints()
    assert shared.http.post("/sdapi/v1/refresh-loras").status_code == 200
