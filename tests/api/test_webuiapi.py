"""The client that others' programs use, every method of it that is A1111's own, against a real HTTP server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import webuiapi
from PIL import Image

from .conftest import until

SMALL = {"seed": 5, "width": 64, "height": 64}


@pytest.fixture
def api(port: int) -> Iterator[webuiapi.WebUIApi]:
    api = webuiapi.WebUIApi(host="127.0.0.1", port=port)
    yield api
    api.session.close()


def start(size: tuple[int, int] = (64, 64)) -> Image.Image:
    return Image.linear_gradient("L").resize(size).convert("RGB")


def test_a_picture_with_a_lora_tag(api: webuiapi.WebUIApi) -> None:
    result = api.txt2img(prompt="a cat <lora:lin:0.8>", steps=4, **SMALL)
    assert result.image.size == (64, 64)
    assert result.image.info["parameters"].startswith("a cat <lora:lin:0.8>\nSteps: 4, Sampler: Euler a")
    assert result.info["all_seeds"] == [5]
    assert result.info["ignored"] == []
    assert result.parameters["prompt"] == "a cat <lora:lin:0.8>"


def test_a_picture_from_a_picture(api: webuiapi.WebUIApi) -> None:
    result = api.img2img(images=[Image.new("RGB", (64, 64), "red")], prompt="a cat", **SMALL)
    assert result.image.size == (64, 64)
    assert result.info["ignored"] == []


def test_pictures_are_waited_for_without_blocking(api: webuiapi.WebUIApi) -> None:
    async def both() -> tuple[Any, ...]:
        drawn = api.txt2img(prompt="a cat", use_async=True, batch_size=2, **SMALL)
        redrawn = api.img2img(images=[start()], prompt="a dog", use_async=True, **SMALL)
        single = api.extra_single_image(start(), upscaler_1=webuiapi.Upscaler.Lanczos, use_async=True)
        several = api.extra_batch_images([start(), start()], upscaler_1="Nearest", upscaling_resize=3, use_async=True)
        return tuple(await asyncio.gather(drawn, redrawn, single, several))

    drawn, redrawn, single, several = asyncio.run(both())
    assert [image.size for image in drawn.images] == [(64, 64)] * 2
    assert drawn.info["all_seeds"] == [5, 6]
    assert redrawn.info["prompt"] == "a dog"
    assert single.image.size == (128, 128)
    assert [image.size for image in several.images] == [(192, 192)] * 2


def test_scripts_and_masks(api: webuiapi.WebUIApi) -> None:
    asked = {"script_name": "SD upscale", "script_args": ["", 8, "Lanczos", 2.0], "mask_image": start()}
    result = api.img2img(images=[start()], prompt="a cat", inpainting_fill=1, **asked, **SMALL)
    assert result.info["ignored"] == []
    with pytest.raises(RuntimeError, match="not part of this version yet"):
        api.txt2img(prompt="a cat", script_name="X/Y/Z plot", script_args=[], **SMALL)
    with pytest.raises(RuntimeError, match="ADetailer"):
        api.txt2img(prompt="a cat", adetailer=[webuiapi.ADetailer()], alwayson_scripts={}, **SMALL)


def test_pictures_are_enlarged(api: webuiapi.WebUIApi) -> None:
    result = api.extra_single_image(start((32, 24)), upscaler_1=webuiapi.Upscaler.Lanczos, upscaling_resize=2)
    assert result.image.tobytes() == start((32, 24)).resize((64, 48), Image.Resampling.LANCZOS).tobytes()
    assert "Postprocess upscaler: Lanczos" in result.info
    names = ["a.png", "b.png"]
    several = api.extra_batch_images([start((32, 24)), start((16, 16))], names, upscaler_1="Nearest")
    assert [image.size for image in several.images] == [(64, 48), (32, 32)]
    assert "b.png" in several.info


def test_a_refusal_is_told_in_words(api: webuiapi.WebUIApi) -> None:
    with pytest.raises(RuntimeError, match="Did you mean"):
        api.txt2img(prompt="a cat", sampler_name="Eular a")
    with pytest.raises(RuntimeError, match="cannot be described yet"):
        api.interrogate(start())


def test_a_pictures_text_is_read_back(api: webuiapi.WebUIApi) -> None:
    image = api.txt2img(prompt="a cat", **SMALL).image
    assert api.png_info(image).info == image.info["parameters"]


def test_models_and_options(api: webuiapi.WebUIApi) -> None:
    (title,) = api.util_get_model_names()
    api.util_set_model(title)
    assert api.util_get_current_model() == title
    api.util_set_model("tiny_sd", find_closest=True)
    assert api.util_get_current_model() == title
    assert "Euler a" in api.util_get_sampler_names()
    assert "karras" in api.util_get_scheduler_names()
    assert {item["name"] for item in api.get_loras()} >= {"lin", "ink"}
    api.set_options({"CLIP_stop_at_last_layers": 2})
    assert api.get_options()["CLIP_stop_at_last_layers"] == 2


def test_every_list_answers(api: webuiapi.WebUIApi) -> None:
    assert [item["name"] for item in api.get_upscalers()] == ["None", "Lanczos", "Nearest"]
    assert api.get_latent_upscale_modes()[0] == {"name": "Latent"}
    assert api.get_sd_models()[0]["model_name"] == "tiny_sd1"
    assert api.get_sd_vae() == api.get_face_restorers() == api.get_realesrgan_models() == api.get_prompt_styles() == []
    assert api.get_hypernetworks() == []
    assert api.get_embeddings()["loaded"].keys() == {"ti"}
    assert "sd upscale" in api.get_scripts()["img2img"]
    assert api.get_memory()["ram"]["total"] > 0
    assert api.get_cmd_flags()["listen"] is False
    assert api.custom_get("internal/ping") == {}
    assert api.custom_get("samplers", baseurl=True) == api.get_samplers()
    assert api.refresh_checkpoints() is None
    assert not (api.has_controlnet or api.has_adetailer or api.has_animatediff)


def test_what_runs_is_seen_skipped_and_interrupted(api: webuiapi.WebUIApi, port: int) -> None:
    assert api.get_progress()["state"]["job_count"] == 0
    api.util_wait_for_ready()
    for stop in (api.interrupt, api.skip):
        other = webuiapi.WebUIApi(host="127.0.0.1", port=port)
        thread = threading.Thread(target=other.txt2img, kwargs={"prompt": "wait", **SMALL})
        thread.start()
        until(lambda: api.get_progress()["progress"] > 0.5)
        stop()
        thread.join(60)
        other.session.close()
        assert not thread.is_alive()
