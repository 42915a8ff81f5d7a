"""Bodies of many values, and of many clients at a time."""

from __future__ import annotations

import base64
import json
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from modules.api import LimitBodies, Services
from modules.api.bodies import PARTS, too_deep
from modules.images import encode

from .conftest import until
from .test_security_bodies import JSON, chunks, send


@pytest.mark.parametrize("value", [b"1", b"{}", b'""', b'{"a":0}', b'","', b"[[]]"])
def test_values_count_as_well_as_lists_and_objects(value: bytes) -> None:
    """65 million wrong values are no more than 128 MB of text, and each would be told of."""
    assert too_deep(b"[" + b",".join([value] * 10_000) + b"]") == ""
    assert "values" in too_deep(b"[" + b",".join([value] * (PARTS + 2)) + b"]")
    assert "values" in too_deep(b"{" + b",".join([b'"a":' + value] * (PARTS + 2)) + b"}")


def test_commas_in_texts_are_no_values() -> None:
    prompt = ", ".join(["a cat"] * 2 * PARTS) + '"\\'
    assert too_deep(json.dumps({"prompt": prompt}).encode()) == ""


def test_a_body_of_nothing_but_quotation_marks_takes_no_more_memory_than_itself() -> None:
    body = b'["' + b'","' * 2**22 + b'"]'
    tracemalloc.start()
    try:
        assert "values" in too_deep(body)
        assert tracemalloc.get_traced_memory()[1] < 3 * len(body)
    finally:
        tracemalloc.stop()


def test_too_many_wrong_values_are_refused_before_they_are_looked_at(client: TestClient) -> None:
    body = b'{"styles": [' + b"1," * 2_000_000 + b"1]}"
    answer = client.post("/sdapi/v1/txt2img", content=body, headers=JSON)
    assert (answer.status_code, len(answer.content) < 1000) == (422, True)
    assert "values, lists and objects" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/", "/pictures"])
def test_a_small_body_is_taken_however_much_there_is_besides(path: str) -> None:
    for body in (b"0" * 500, chunks(5)):
        assert send(body, path, together=0, anyhow=500).text == "500"
    for body in (b"0" * 501, chunks(6)):
        assert send(body, path, together=0, anyhow=500).status_code == 503


def test_a_body_that_was_read_is_let_go_while_its_pictures_are_waited_for(
    client: TestClient, services: Services
) -> None:
    picture = base64.b64encode(encode(Image.effect_noise((1024, 1024), 90), "")[0]).decode()
    body = json.dumps({"init_images": [picture], "prompt": "wait", "width": 64, "height": 64}).encode()
    assert len(body) > 2**20
    limits = next(app for app in layers(client) if isinstance(app, LimitBodies))
    limits.anyhow = 0
    tracemalloc.start()
    try:
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(client.post, "/sdapi/v1/img2img", content=body, headers=JSON)
            try:
                until(lambda: bool(services.jobs.active()), 30)
                assert limits._held == 0
                until(lambda: tracemalloc.get_traced_memory()[0] < 2**19, 30)
            finally:
                client.post("/sdapi/v1/interrupt")
            assert answer.result(30).status_code == 200
    finally:
        tracemalloc.stop()


def layers(client: TestClient) -> Iterator[Any]:
    """The app's middleware, from the outside in."""
    client.get("/internal/ping")  # it is put together for the first request
    app: Any = client.app
    layer = app.middleware_stack
    while layer is not None:
        yield layer
        layer = getattr(layer, "app", None)
