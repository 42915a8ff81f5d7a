"""The client that others' programs use, against a real HTTP server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import webuiapi
from PIL import Image


@pytest.fixture
def api(port: int) -> Iterator[webuiapi.WebUIApi]:
    api = webuiapi.WebUIApi(host="127.0.0.1", port=port)
    yield api
    api.session.close()


def test_a_picture_with_a_lora_tag(api: webuiapi.WebUIApi) -> None:
    result = api.txt2img(prompt="a cat <lora:lin:0.8>", seed=5, steps=4, width=64, height=64)
    assert result.image.size == (64, 64)
    assert result.image.info["parameters"].startswith("a cat <lora:lin:0.8>\nSteps: 4, Sampler: Euler a")
    assert result.info["all_seeds"] == [5]
    assert result.info["ignored"] == []


def test_a_picture_from_a_picture(api: webuiapi.WebUIApi) -> None:
    result = api.img2img(images=[Image.new("RGB", (64, 64), "red")], prompt="a cat", seed=5, width=64, height=64)
    assert result.image.size == (64, 64)
    assert result.info["ignored"] == []


def test_a_refusal_is_told_in_words(api: webuiapi.WebUIApi) -> None:
    with pytest.raises(RuntimeError, match="Did you mean"):
        api.txt2img(prompt="a cat", sampler_name="Eular a")


def test_a_pictures_text_is_read_back(api: webuiapi.WebUIApi) -> None:
    image = api.txt2img(prompt="a cat", seed=5, width=64, height=64).image
    assert api.png_info(image).info == image.info["parameters"]


def test_models_and_options(api: webuiapi.WebUIApi) -> None:
    (title,) = api.util_get_model_names()
    api.util_set_model(title)
    assert api.util_get_current_model() == title
    assert "Euler a" in api.util_get_sampler_names()
    assert "karras" in api.util_get_scheduler_names()
    assert {item["name"] for item in api.get_loras()} >= {"lin", "ink"}
    assert api.get_progress()["state"]["job_count"] == 0
    api.set_options({"CLIP_stop_at_last_layers": 2})
    assert api.get_options()["CLIP_stop_at_last_layers"] == 2
    for ask in (
        api.interrupt,
        api.skip,
        api.refresh_checkpoints,
        api.get_cmd_flags,
        api.get_embeddings,
        api.get_memory,
    ):
        ask()
