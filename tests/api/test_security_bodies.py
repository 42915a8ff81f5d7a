"""Bodies: how large, how slow and how deep they may be, on every route."""

from __future__ import annotations

import asyncio
import base64
import functools
import io
import json
import struct
import time
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx import ASGITransport, AsyncClient
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from modules.api import LimitBodies
from modules.api import bodies as bodies_module
from modules.api.bodies import DEPTH, PICTURE, RULES, TEXT, Rule, too_deep
from modules.images.decode import MAX_PIXELS

from .conftest import ADDRESS, png

JSON = {"Content-Type": "application/json"}


def rule(path: str) -> Rule:
    return next(found for found in RULES if found.pattern.fullmatch(path))


@pytest.mark.parametrize(
    ("path", "most"),
    [
        ("/tagbrush/v1/inputs", PICTURE),
        ("/tagbrush/v1/infotext/read", PICTURE),
        ("/gradio_api/upload", PICTURE),
        ("/sdapi/v1/img2img", 2 * PICTURE),
        ("/sdapi/v1/extra-batch-images", 2 * PICTURE),
        ("/sdapi/v1/options", TEXT),
        ("/tagbrush/v1/jobs", TEXT),
        ("/gradio_api/run/predict", TEXT),
        ("/nothing\n", TEXT),
        ("", TEXT),
    ],
)
def test_every_path_has_its_bound(path: str, most: int) -> None:
    assert rule(path).most == most


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Tells how much came."""
    length = 0
    async for part in Request(scope, receive).stream():
        length += len(part)
    await PlainTextResponse(str(length))(scope, receive, send)


SMALL = (Rule(bodies_module.re.compile("/pictures"), 1000, whole=False), Rule(bodies_module.re.compile(".*"), 1000))


def send(body: Any, path: str = "/", together: int = 10**6, anyhow: int = 0, **headers: str) -> Any:
    async def sent() -> Any:
        app = LimitBodies(echo, SMALL, together=together, anyhow=anyhow)
        async with AsyncClient(transport=ASGITransport(app), base_url=ADDRESS) as client:
            return await client.post(path, content=body, headers=headers)

    return asyncio.run(sent())


async def chunks(count: int, size: int = 100) -> AsyncIterator[bytes]:
    """A body whose length nobody knows before it ends."""
    for _ in range(count):
        yield b"0" * size


@pytest.mark.parametrize("path", ["/", "/pictures"])
def test_a_body_within_bounds_comes_whole(path: str) -> None:
    assert send(b"0" * 1000, path).text == "1000"
    assert send(chunks(10), path).text == "1000"
    assert send(b"", path).text == "0"


@pytest.mark.parametrize("path", ["/", "/pictures"])
def test_one_beyond_them_is_refused_whether_its_length_was_told_or_not(path: str) -> None:
    for answer in (send(b"0" * 1001, path), send(chunks(11), path)):
        assert (answer.status_code, answer.json()["error"]) == (413, "TooLarge")
        assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("path", ["/", "/pictures"])
def test_a_promised_length_is_refused_before_a_byte_is_read(path: str) -> None:
    asked: list[int] = []

    async def never() -> AsyncIterator[bytes]:
        asked.append(1)
        yield b""

    answer = send(never(), path, **{"Content-Length": "99999999999999999999999999"})
    assert answer.status_code == 413
    assert send(b"", path, **{"Content-Length": "1001"}).status_code == 413


@pytest.mark.parametrize("path", ["/tagbrush/v1/inputs", "/sdapi/v1/txt2img", "/tagbrush/v1/jobs", "/nothing"])
def test_every_route_is_bounded(client: TestClient, path: str) -> None:
    app: Any = client.app
    bounded = next(middleware for middleware in app.user_middleware if middleware.cls is LimitBodies)
    bounded.kwargs["rules"] = tuple(Rule(found.pattern, 2**16, found.whole) for found in RULES)
    app.middleware_stack = app.build_middleware_stack()
    answer = client.post(path, content=b"0" * (2**16 + 1), headers=JSON)
    assert (answer.status_code, answer.json()["error"]) == (413, "TooLarge")


def test_all_bodies_together_have_a_bound_too() -> None:
    answer = send(b"0" * 900, together=800)
    assert (answer.status_code, answer.json()["error"]) == (503, "Busy")
    assert send(b"0" * 700, together=800).text == "700"


def test_what_was_held_is_let_go_whatever_happened() -> None:
    async def many() -> int:
        app = LimitBodies(echo, SMALL, together=5000, anyhow=0)
        async with AsyncClient(transport=ASGITransport(app), base_url=ADDRESS) as client:
            for _ in range(10):
                await client.post("/", content=b"0" * 900)
                await client.post("/pictures", content=chunks(20))
                await client.post("/", content=b"[" * 100)
        return app._held

    assert asyncio.run(many()) == 0


def test_a_body_that_stops_coming_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies_module, "PATIENCE", 0.05)

    async def stalls() -> AsyncIterator[bytes]:
        yield b"0"
        await asyncio.sleep(120)

    begun = time.monotonic()
    answer = send(stalls())
    assert (answer.status_code, answer.json()["error"]) == (408, "TooSlow")
    assert time.monotonic() - begun < 60


def nested(depth: int) -> bytes:
    return b'{"prompt": "[[[", "x": ' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


def test_json_has_a_depth(reader: TestClient) -> None:
    assert too_deep(nested(DEPTH)) == ""
    assert "levels deep" in too_deep(nested(DEPTH + 1))
    for path in ("/sdapi/v1/txt2img", "/sdapi/v1/options", "/tagbrush/v1/jobs", "/tagbrush/v1/prompts/survey"):
        for depth in (DEPTH + 1, 100_000):
            answer = reader.post(path, content=nested(depth), headers=JSON)
            assert (answer.status_code, answer.json()["error"]) == (422, "BadRequest")
            assert "levels deep" in answer.json()["detail"]


def test_json_has_a_number_of_parts() -> None:
    assert too_deep(b"[" + b"{}," * 1000 + b"{}]") == ""
    assert "lists and objects" in too_deep(b"[" + b"{}," * 600_000 + b"{}]")


def test_text_that_only_looks_deep_is_read(client: TestClient) -> None:
    prompt = "[" * 500 + '"' * 50 + "\\" * 51 + "{" * 300
    answer = client.post("/sdapi/v1/txt2img", json={"prompt": prompt, "width": 64, "height": 64})
    assert answer.status_code == 200
    assert json.loads(answer.json()["info"])["prompt"] == prompt


@settings(max_examples=50, deadline=None)
@given(
    st.recursive(
        st.none() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_no_json_of_modest_depth_is_taken_for_a_deep_one(value: Any) -> None:
    def depth(part: Any) -> int:
        inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else None
        return 0 if inner is None else 1 + max(map(depth, inner), default=0)

    for ascii_only in (True, False):
        body = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
        assert bool(too_deep(body)) == (depth(value) > DEPTH)


@pytest.mark.parametrize("code", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_json_in_another_encoding_does_not_get_around_that(reader: TestClient, code: str) -> None:
    body = nested(100).decode().encode(code)
    answer = reader.post("/sdapi/v1/txt2img", content=body, headers=JSON)
    assert answer.status_code == 422
    assert "UTF-8" in answer.json()["detail"]


def test_a_large_text_is_looked_through_quickly() -> None:
    body = json.dumps({"init_images": [base64.b64encode(bytes(30 * 2**20)).decode()]}).encode()
    hostile = b'{"a": "' + b'\\"' * (10 * 2**20) + b'"}'
    for text in (body, hostile):
        begun = time.process_time()
        assert too_deep(text) == ""
        assert time.process_time() - begun < 2


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int, *chunks: bytes, rows: bytes = b"") -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(rows or b"\0" * 100, 9))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + data + chunk(b"IEND", b"")


def saved(form: str, size: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    options: dict[str, Any] = {"lossless": True, "method": 0} if form == "WEBP" else {"speed": 10, "quality": 1}
    Image.new("L" if form == "PNG" else "RGB", size).save(buffer, form, **({} if form == "PNG" else options))
    return buffer.getvalue()


@functools.cache
def zeros() -> bytes:
    return zlib.compress(bytes(80 * 2**20), 9)


BOMBS: dict[str, Callable[[], bytes]] = {
    "a size in the header": lambda: png_of(60_000, 60_000),
    "the largest size": lambda: png_of(2**31 - 1, 2**31 - 1),
    "text that unpacks to 80 MB": lambda: png_of(1, 1, chunk(b"zTXt", b"parameters\0\0" + zeros())),
    "international text that does": lambda: png_of(1, 1, chunk(b"iTXt", b"parameters\0\1\0\0\0" + zeros())),
    "a colour profile that does": lambda: png_of(1, 1, chunk(b"iCCP", b"x\0\0" + zeros())),
}


@pytest.mark.parametrize("make", BOMBS.values(), ids=BOMBS)
def test_a_png_that_unpacks_to_too_much_is_refused_or_harmless(reader: TestClient, make: Callable[[], bytes]) -> None:
    bomb = make()
    assert len(bomb) < 2**20
    encoded = base64.b64encode(bomb).decode()
    begun = time.process_time()
    for answer in (
        reader.post("/tagbrush/v1/inputs", content=bomb),
        reader.post("/tagbrush/v1/infotext/read", content=bomb),
        reader.post("/sdapi/v1/png-info", json={"image": encoded}),
        reader.post("/sdapi/v1/img2img", json={"init_images": [encoded]}),
        reader.post("/sdapi/v1/extra-single-image", json={"image": encoded}),
    ):
        assert answer.status_code < 500 and len(answer.content) < 2**20
    assert time.process_time() - begun < 5


def test_too_many_pixels_are_refused_in_every_format(reader: TestClient) -> None:
    side = 8200
    assert side * side > MAX_PIXELS
    across, short = struct.pack("<I", side - 1)[:3], struct.pack("<HH", side, side)
    wide = {
        "PNG": png_of(side, side, rows=bytes((side + 1) * 10)),
        "WEBP": b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + across + across + b"VP8L" + bytes(8),
        "GIF": b"GIF89a" + short + b"\0\0\0,\0\0\0\0" + short + b"\0\2\0;",
    }
    for data in wide.values():
        assert reader.post("/tagbrush/v1/inputs", content=data).status_code == 422
    assert "pixels" in reader.post("/tagbrush/v1/inputs", content=wide["PNG"]).json()["detail"]


@pytest.mark.parametrize("form", ["WEBP", "AVIF"])
def test_a_real_picture_of_more_pixels_than_allowed_is_refused(
    client: TestClient, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modules.images.decode.MAX_PIXELS", 512 * 512)
    data = saved(form, (1024, 1024))
    assert len(data) < 2**16
    answer = client.post("/tagbrush/v1/inputs", content=data)
    assert (answer.status_code, "1024 x 1024" in answer.json()["detail"]) == (422, True)


@pytest.mark.parametrize(
    "data",
    [b"<svg xmlns='http://www.w3.org/2000/svg' onload='x()'/>", b"GIF89a<script>", b"%!PS", b"%PDF-1.4", b"II*\0", b"",
     b"\0" * 1000, b"8BPS\0\1", b"\xff\xd8\xff<script>alert(1)</script>", b"<!doctype html>", b"PK\3\4"],
)  # fmt: skip
def test_uploads_are_known_by_their_content(reader: TestClient, data: bytes) -> None:
    for kind in ("image/png", "image/svg+xml", "text/html", "application/octet-stream"):
        assert reader.post("/tagbrush/v1/inputs", content=data, headers={"Content-Type": kind}).status_code == 422
    encoded = "data:image/png;base64," + base64.b64encode(data).decode()
    assert reader.post("/sdapi/v1/img2img", json={"init_images": [encoded]}).status_code == 422


def test_an_upload_comes_back_as_what_it_is_whatever_it_was_called(client: TestClient) -> None:
    data = png()
    stored = client.post("/tagbrush/v1/inputs", content=data, headers={"Content-Type": "text/html"}).json()
    answer = client.get(f"/tagbrush/v1/inputs/{stored['id']}")
    assert (answer.content, answer.headers["content-type"]) == (data, "image/png")
    assert answer.headers["x-content-type-options"] == "nosniff"
