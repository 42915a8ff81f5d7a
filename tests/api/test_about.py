"""Status, options, parameters, infotext, and what OpenAPI says of all routes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from modules.images import encode
from modules.params import Txt2ImgRequest

TEXT = (
    "a lemon\nNegative prompt: ink\nSteps: 7, Sampler: DPM++ 2M Karras, CFG scale: 4, Seed: 5, Size: 64x128, RNG: CPU"
)


def test_the_status_tells_of_page_and_worker(client: TestClient) -> None:
    answer = client.get("/tagbrush/v1/status").json()
    assert answer["ui"] == "off"
    assert answer["worker"] == {"state": "ready", "device": "fake", "message": "", "job_id": None}
    assert answer["workers"] == [answer["worker"]]


def test_the_parameters_are_all_declared_with_labels(reader: TestClient) -> None:
    answer = reader.get("/tagbrush/v1/parameters").json()
    assert answer["txt2img"]["properties"]["steps"].items() >= {"title": "Sampling steps", "minimum": 1}.items()
    assert "denoising_strength" in answer["img2img"]["properties"]
    assert "randn_source" in answer["settings"]["properties"]
    assert "Euler a" in answer["samplers"]
    assert "Karras" in answer["schedules"]


def test_every_list_that_a_parameter_names_is_there(reader: TestClient) -> None:
    told = reader.get("/tagbrush/v1/parameters").json()
    named = {
        field["choices"]
        for group in ("txt2img", "img2img", "settings")
        for field in told[group]["properties"].values()
        if isinstance(field.get("choices"), str)
    }
    assert named <= told["choices"].keys()
    assert told["choices"]["checkpoints"] == ["tiny_sd1.safetensors"]
    assert told["choices"]["loras"] == ["None", "lin.safetensors", "styles/ink.safetensors"]
    assert told["choices"]["samplers"] == [sampler["name"] for sampler in reader.get("/tagbrush/v1/samplers").json()]
    schedules = reader.get("/tagbrush/v1/schedules").json()
    assert told["choices"]["schedules"] == [schedule["label"] for schedule in schedules]


def test_upscalers_are_those_that_requests_take(reader: TestClient) -> None:
    for upscaler in reader.get("/tagbrush/v1/upscalers").json():
        assert Txt2ImgRequest(hr_upscaler=upscaler["name"])
        assert upscaler["latent"] == upscaler["name"].startswith("Latent")


def test_options_are_changed_or_refused_as_a_whole(client: TestClient) -> None:
    before = client.get("/tagbrush/v1/options").json()
    changed = client.post("/tagbrush/v1/options", json={"CLIP_stop_at_last_layers": 2}).json()
    assert changed == {**before, "CLIP_stop_at_last_layers": 2}
    for wrong in ({"wibble": 1}, {"CLIP_stop_at_last_layers": 99}, {"sd_model_checkpoint": "nosuch"}):
        answer = client.post("/tagbrush/v1/options", json={"send_seed": False, **wrong})
        assert answer.status_code in (400, 422)
    assert client.get("/tagbrush/v1/options").json() == changed


def test_a_text_is_taken_apart(reader: TestClient) -> None:
    answer = reader.post("/tagbrush/v1/infotext/parse", json={"text": TEXT}).json()
    assert answer["fields"].items() >= {"prompt": "a lemon", "negative_prompt": "ink", "seed": 5}.items()
    assert answer["fields"].items() >= {"sampler_name": "DPM++ 2M", "scheduler": "Karras", "width": 64}.items()
    assert answer["settings"]["randn_source"] == "CPU"


def test_a_pictures_text_is_read_and_taken_apart(reader: TestClient) -> None:
    data, _ = encode(Image.new("RGB", (8, 8)), TEXT)
    answer = reader.post("/tagbrush/v1/infotext/read", content=data).json()
    assert answer["text"] == TEXT
    assert answer["fields"]["steps"] == 7
    assert reader.post("/tagbrush/v1/infotext/read", content=b"hello").status_code == 422


@pytest.fixture(scope="module")
def schema(reader: TestClient) -> dict[str, Any]:
    return reader.get("/openapi.json").json()


def operations(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            yield f"{method} {path}", operation


def test_every_route_is_described(schema: dict[str, Any]) -> None:
    assert not [name for name, operation in operations(schema) if not operation.get("summary")]
    assert len(list(operations(schema))) > 45


def test_every_body_has_an_example(schema: dict[str, Any]) -> None:
    missing = []
    for name, operation in operations(schema):
        body = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if body and not _has_example(body, schema):
            missing.append(name)
    assert not missing


def _has_example(body: dict[str, Any], schema: dict[str, Any]) -> bool:
    if "examples" in body or "example" in body:
        return True
    target = body["schema"]
    if "$ref" in target:
        target = schema["components"]["schemas"][target["$ref"].rpartition("/")[2]]
    return "examples" in target or any("examples" in field for field in target.get("properties", {}).values())
