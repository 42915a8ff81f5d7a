"""Values that cannot be used, told briefly, whatever they hold."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest
from fastapi.testclient import TestClient

from .conftest import png

ENCODED = base64.b64encode(png()).decode()
HALF = "\ud800"
"""Half of a surrogate pair: JSON can spell it, and no text can hold it."""


@pytest.mark.parametrize("path", ["/sdapi/v1/txt2img", "/tagbrush/v1/jobs"])
def test_of_many_wrong_values_ten_are_told_and_the_others_counted(client: TestClient, path: str) -> None:
    answer = client.post(path, json={"task": "txt2img", "styles": [{}] * 3000})
    told = answer.json()["detail"]
    assert answer.status_code == 422
    assert told.count("valid string") == 10
    assert told.endswith("more values.")
    assert answer.json()["errors"] == told


def test_a_large_wrong_value_is_shown_in_brief(client: TestClient) -> None:
    long = "x" * 10**6
    for wrong in ({"steps": long}, {"styles": {"x": long}}, {long: 1}, {"task": long}, {"sampler_name": long}):
        answer = client.post("/tagbrush/v1/jobs", json={"task": "txt2img", **wrong})
        assert answer.status_code in (400, 422)
        assert len(answer.text) < 2000


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/sdapi/v1/options", {"sd_vae": HALF}),
        ("/sdapi/v1/options", {"sd_model_checkpoint": HALF}),
        ("/sdapi/v1/options", {"samples_format": HALF}),
        ("/sdapi/v1/options", {HALF: 1}),
        ("/sdapi/v1/options", {HALF: 1, "CLIP_stop_at_last_layers": 2}),
        ("/sdapi/v1/txt2img", {"override_settings": {"sd_vae": HALF}}),
        ("/sdapi/v1/txt2img", {"override_settings": {HALF: 1}, "width": 64, "height": 64}),
        ("/sdapi/v1/txt2img", {"override_settings": {"unheard_of": HALF}, "width": 64, "height": 64}),
        ("/sdapi/v1/txt2img", {HALF: HALF, "width": 64, "height": 64}),
        ("/sdapi/v1/txt2img", {"alwayson_scripts": {HALF: {"args": [True]}}}),
        ("/sdapi/v1/txt2img", {"alwayson_scripts": {HALF: {"args": [False]}}, "width": 64, "height": 64}),
        ("/sdapi/v1/txt2img", {"script_name": HALF}),
        ("/sdapi/v1/txt2img", {"sampler_name": HALF}),
        ("/tagbrush/v1/jobs", {"task": HALF}),
        ("/tagbrush/v1/jobs", {"task": "txt2img", HALF: 1}),
        ("/tagbrush/v1/jobs", {"task": "txt2img", "override_settings": {HALF: HALF}}),
        ("/sdapi/v1/interrogate", {"model": HALF}),
    ],
)
def test_half_a_surrogate_pair_is_no_fault_of_the_server(client: TestClient, path: str, body: dict[str, Any]) -> None:
    headers = {"Content-Type": "application/json"}
    answer = client.post(path, content=json.dumps(body).encode(), headers=headers)
    assert answer.status_code < 500, answer.text


def test_an_option_that_nobody_has_is_named_as_far_as_it_can_be(client: TestClient) -> None:
    answer = client.post("/sdapi/v1/options", content=b'{"x\\ud800": 1}', headers={"Content-Type": "application/json"})
    assert "x?" in answer.text


def test_more_pictures_than_a_batch_takes_are_refused_before_one_is_looked_at(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[bytes] = []
    monkeypatch.setattr("modules.api.fetch.whole_picture", looked_at.append)
    answer = client.post("/sdapi/v1/img2img", json={"init_images": [ENCODED] * 3, "batch_size": 2})
    assert (answer.status_code, looked_at) == (422, [])
    assert "3 pictures" in answer.json()["detail"]


@pytest.mark.parametrize("wrong", [5, [5], {"image": 5}])
def test_what_fields_of_the_other_task_hold_is_no_fault_of_the_server(client: TestClient, wrong: Any) -> None:
    """A1111 passes over fields that it does not know, whatever they are."""
    small = {"width": 64, "height": 64, "steps": 1}
    drawn = client.post("/sdapi/v1/txt2img", json={"init_images": wrong, "mask": wrong, **small})
    redrawn = client.post("/sdapi/v1/img2img", json={"init_images": [ENCODED], "firstpass_image": wrong, **small})
    assert (drawn.status_code, redrawn.status_code) == (200, 200)
    assert json.loads(drawn.json()["info"])["ignored"] == ["init_images", "mask"]


@pytest.mark.parametrize("path", ["/sdapi/v1/txt2img", "/sdapi/v1/options", "/tagbrush/v1/jobs"])
def test_a_body_that_is_no_json_is_told_as_such_with_the_place(client: TestClient, path: str) -> None:
    answer = client.post(path, content=b'{"steps": 3,}', headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"]) == (422, "BadRequest")
    assert re.fullmatch(
        r"The body is no valid JSON: .+ at character 1[12]\. Correct it there\.", answer.json()["detail"]
    )
