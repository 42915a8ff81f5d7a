"""Pictures that clients send are looked at a few at a time, each once, and nothing else waits for that."""

from __future__ import annotations

import base64
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from modules.api.decoding import AT_A_TIME, Decoding
from modules.images import encode
from modules.images.decode import open_picture, whole_picture

from .conftest import png, until

FILE = png()
TEXT = base64.b64encode(FILE).decode()
SMALL = {"width": 64, "height": 64, "steps": 1}
WAYS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "upload": ("/tagbrush/v1/inputs", "modules.api.inputs.whole_picture", {"content": FILE}),
    "img2img": ("/sdapi/v1/img2img", "modules.api.fetch.whole_picture", {"json": {"init_images": [TEXT], **SMALL}}),
    "txt2img": (
        "/sdapi/v1/txt2img",
        "modules.api.fetch.whole_picture",
        {"json": {"firstpass_image": TEXT, "enable_hr": True, **SMALL}},
    ),
    "png-info": ("/sdapi/v1/png-info", "modules.api.listings.whole_picture", {"json": {"image": TEXT}}),
    "enlarged": (
        "/sdapi/v1/extra-single-image",
        "modules.api.compat.extras.whole_picture",
        {"json": {"image": TEXT}},
    ),
    "several enlarged": (
        "/sdapi/v1/extra-batch-images",
        "modules.api.compat.extras.whole_picture",
        {"json": {"imageList": [{"data": TEXT}]}},
    ),
}


class Slow:
    """Looks at pictures once it is let go on, and knows how many it had at a time."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.now = self.most = 0
        self._lock = threading.Lock()

    def __call__(self, data: bytes) -> Image.Image:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        self.go_on.wait(30)
        with self._lock:
            self.now -= 1
        return whole_picture(data)


@pytest.mark.parametrize(("path", "place", "sent"), WAYS.values(), ids=WAYS)
def test_few_are_looked_at_at_a_time_and_other_routes_answer_meanwhile(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, path: str, place: str, sent: dict[str, Any]
) -> None:
    slow = Slow()
    monkeypatch.setattr(place, slow)
    count = 45  # more than there are threads
    with ThreadPoolExecutor(count) as pool:
        answers = [pool.submit(client.post, path, **sent) for _ in range(count)]
        try:
            until(lambda: slow.now == AT_A_TIME, 30)
            assert client.get("/sdapi/v1/progress").status_code == 200
            assert client.post("/sdapi/v1/interrupt").status_code == 200
            assert client.post("/sdapi/v1/txt2img", json=SMALL).status_code == 200
        finally:
            slow.go_on.set()
        assert {answer.result(30).status_code for answer in answers} <= {200, 201}
    assert slow.most == AT_A_TIME


@pytest.mark.parametrize(("path", "sent"), [(path, sent) for path, _, sent in WAYS.values()], ids=WAYS)
def test_each_is_opened_once(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, path: str, sent: dict[str, Any]
) -> None:
    opened: list[bytes] = []

    def opening(data: bytes) -> Image.Image:
        opened.append(data)
        return open_picture(data)

    monkeypatch.setattr("modules.images.decode.open_picture", opening)
    monkeypatch.setattr("modules.images.metadata.open_picture", opening)
    assert client.post(path, **sent).status_code in (200, 201)
    assert len(opened) == 1


def test_a_text_behind_the_pixels_is_still_found(client: TestClient) -> None:
    file = encode(Image.new("RGB", (8, 8)), "a lemon\nSteps: 3, Sampler: Euler, Seed: 1")[0]
    begin, end = file.index(b"tEXt") - 4, file.index(b"IDAT") - 4
    late = file[:begin] + file[end:-12] + file[begin:end] + file[-12:]
    sent = {"image": base64.b64encode(late).decode()}
    assert client.post("/sdapi/v1/png-info", json=sent).json()["info"].startswith("a lemon")


def test_who_sends_addresses_waits_for_others_of_that_kind_alone() -> None:
    decoding = Decoding()
    assert decoding.turn(["aGVsbG8="]) is decoding.sent
    assert decoding.turn(["aGVsbG8=", "HTTPS://pictures.example/a.png"]) is decoding.fetched
    assert decoding.turn(["", ""]) not in (decoding.sent, decoding.fetched)
