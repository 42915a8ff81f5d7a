"""Limits and frozen options over HTTP: what is asked for beyond them never reaches the worker."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

JOBS = "/tagbrush/v1/jobs"
ABSURD: list[dict[str, Any]] = [
    {"steps": 10**9},
    {"width": 100_000, "height": 100_000},
    {"width": -1},
    {"batch_size": 10**6},
    {"n_iter": 10**9},
    {"prompt": "x" * 2_000_000},
    {"width": 8192, "height": 8192},
    {"width": 4096, "height": 4096, "batch_size": 32},
    {"width": 2048, "height": 2048, "enable_hr": True, "hr_scale": 4},
    {"n_iter": 9999},
    {"steps": 9999},
    {"prompt": "x" * 200_000},
]


@pytest.mark.parametrize("route", [JOBS, "/sdapi/v1/txt2img"])
@pytest.mark.parametrize("fields", ABSURD, ids=lambda fields: ",".join(fields))
def test_what_no_machine_can_make_is_refused_at_the_door(
    reader: TestClient, route: str, fields: dict[str, Any]
) -> None:
    body = {"prompt": "a cat", **fields} | ({"task": "txt2img"} if route == JOBS else {})
    answer = reader.post(route, json=body)
    assert answer.status_code == 422, answer.text
    assert str(next(iter(fields))) in answer.text or "max_" in answer.text
    assert len(answer.text) < 2_000
    assert not reader.get(JOBS).json()


def test_a_limit_is_named_with_its_value_and_how_to_raise_it(reader: TestClient) -> None:
    answer = reader.post("/sdapi/v1/txt2img", json={"steps": 5001}).json()
    assert answer["error"] == "TooMuch"
    assert answer["detail"] == (
        "A pass of 5001 steps is more than this server makes: max_steps is 5000. Ask for less, or have its owner raise "
        '"max_steps" in the options or in config.json.'
    )


def test_a_limit_is_an_option_that_its_owner_sets(client: TestClient) -> None:
    assert client.post("/sdapi/v1/options", json={"max_pictures": 1}).status_code == 200
    assert client.post("/sdapi/v1/txt2img", json={"n_iter": 2}).json()["error"] == "TooMuch"
    assert len(client.post("/sdapi/v1/txt2img", json={"n_iter": 1}).json()["images"]) == 1


def test_no_route_installs_or_changes_an_extension(reader: TestClient) -> None:
    # F006
    routes = reader.get("/openapi.json").json()["paths"]
    about_extensions = {path: set(methods) for path, methods in routes.items() if "extension" in path}
    assert about_extensions == {"/sdapi/v1/extensions": {"get"}}
