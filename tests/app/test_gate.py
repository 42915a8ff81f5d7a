"""gradio's own routes, behind our gate and the whole stack: which are open, and what goes through them."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio.routes
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from modules.api import Origins, Services
from modules.app.cli import _mount_page
from modules.app.factory import create_app
from modules.app.gate import Uploads
from modules.app.policy import policy
from modules.catalogue import Catalogue, Folders
from modules.jobs import EventBus, Jobs, JobStore
from tests.api.conftest import ADDRESS, GOLDEN, Painter, png, until

FRIEND = "https://friend.example"


@contextmanager
def serving(data: Path, **options: Any) -> Iterator[TestClient]:
    """The whole server with its page, in this process."""
    (data / "models" / "Stable-diffusion").mkdir(parents=True)
    shutil.copy(GOLDEN / "model" / "tiny_sd1.safetensors", data / "models" / "Stable-diffusion")
    store = JobStore(None)
    bus = EventBus(store.events_after)
    store.announce = bus.publish
    services = Services(Jobs(store, bus, Painter(store, bus, data)), Catalogue(Folders.from_args(shipped=data)))
    app = create_app(services, mount=mount, **options)
    with TestClient(app, base_url=ADDRESS, raise_server_exceptions=False) as client:
        until(lambda: services.page.state == "ready", 60)
        yield client


def mount(app: FastAPI, services: Services) -> None:
    """The page, built on a running loop: without one gradio opens loops of its own and leaves them open."""

    async def built() -> None:
        _mount_page(app, services)

    asyncio.run(built())


@pytest.fixture(scope="module")
def uploads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("uploads").resolve()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, uploads: Path) -> Iterator[TestClient]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(uploads))
        with serving(tmp_path_factory.mktemp("data"), origins=Origins.of([FRIEND])) as client:
            yield client


def page_app(client: TestClient) -> FastAPI:
    app: Any = client.app
    found = app.router.default._page
    assert isinstance(found, FastAPI)
    return found


def routes(found: Any) -> Iterator[tuple[str, str]]:
    """Every method and path of an app or router and of what is mounted in it."""
    for route in found.routes:
        inner = getattr(route, "original_router", None) or getattr(route, "app", None)
        if hasattr(inner, "routes"):
            yield from routes(inner)
        else:
            yield from ((method, route.path) for method in route.methods or ())


OPEN = {
    ("GET", "/"),
    ("HEAD", "/"),
    ("GET", "/assets/{path:path}"),
    ("GET", "/static/{path:path}"),
    ("GET", "/config"),
    ("GET", "/config/"),
    ("GET", "/favicon.ico"),
    ("GET", "/manifest.json"),
    ("GET", "/robots.txt"),
    ("GET", "/theme.css"),
    ("GET", "/gradio_api/heartbeat/{session_hash}"),
    ("GET", "/gradio_api/queue/data"),
    ("GET", "/gradio_api/startup-events"),
    ("GET", "/gradio_api/upload_progress"),
    ("GET", "/gradio_api/file={path_or_url:path}"),
    ("HEAD", "/gradio_api/file={path_or_url:path}"),
    ("POST", "/gradio_api/cancel"),
    ("POST", "/gradio_api/queue/join"),
    ("POST", "/gradio_api/reset"),
    ("POST", "/gradio_api/reset/"),
    ("POST", "/gradio_api/run/{api_name}"),
    ("POST", "/gradio_api/run/{api_name}/"),
    ("POST", "/gradio_api/upload"),
}
"""Every route of gradio that is needed; whichever else it has or comes to have is refused."""


def test_of_gradios_routes_those_are_open_that_the_page_needs(client: TestClient) -> None:
    """Whatever gradio itself would answer: nothing but our gate is asked."""
    every = set(routes(page_app(client))) - {("GET", "/openapi.json"), ("HEAD", "/openapi.json")}  # our own answers
    assert every >= OPEN, "gradio has changed its routes"
    assert len(every) > 2 * len(OPEN)
    for method, path in sorted(every - OPEN):
        answer = client.request(method, re.sub(r"{\w+(:path)?}", "x", path))
        assert answer.status_code == 404, (method, path)
        assert method == "HEAD" or "nothing at" in answer.json()["detail"], (method, path)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/gradio_api/file/etc/passwd"),
        ("GET", "/gradio_api/proxy=https://x.hf.space/a"),
        ("POST", "/gradio_api/component_server"),
        ("GET", "/gradio_api/stream/a/b/1/playlist.m3u8"),
        ("GET", "/gradio_api/custom_component/a/client/b/c"),
        ("GET", "/gradio_api/deep_link?session_hash=x"),
        ("GET", "/gradio_api/dev/reload"),
        ("POST", "/gradio_api/vibe-edit"),
        ("GET", "/monitoring"),
        ("POST", "/login"),
        ("GET", "/logout"),
        ("GET", "/gradio_api/openapi.json"),
        ("POST", "/gradio_api/call/predict"),
        ("GET", "/gradio_api/mcp/"),
        ("DELETE", "/"),
        ("GET", "/file=/etc/passwd"),
    ],
)
def test_what_could_do_harm_is_none_of_them(client: TestClient, method: str, path: str) -> None:
    assert client.request(method, path).status_code in (404, 405)


def upload(client: TestClient, data: bytes, name: str = "a.png", **options: Any) -> Any:
    return client.post("/gradio_api/upload", files={"files": (name, data, "image/png")}, **options)


def test_a_picture_goes_up_and_comes_back_as_what_it_is(client: TestClient, uploads: Path) -> None:
    data = png()
    for name in ("a.png", "page.html", "no ending", "../../up.svg", "ünï '<b>.png"):
        (path,) = upload(client, data, name).json()
        assert Path(path).parents[1] == uploads
        answer = client.get(f"/gradio_api/file={quote(path)}")
        assert (answer.status_code, answer.content) == (200, data)
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["x-content-type-options"] == "nosniff"


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it has that many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"<script>alert(1)</script>", "a.png"),
        (b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>', "a.svg"),
        (b"%PDF-1.7", "a.pdf"),
        (b"\x89PNG\r\n\x1a\n", "cut.png"),
        (b"", "empty.png"),
        (bomb(100_000, 100_000), "bomb.png"),
    ],
    ids=["html", "svg", "pdf", "cut", "empty", "bomb"],
)
def test_what_is_no_picture_by_its_content_is_not_kept(
    client: TestClient, uploads: Path, data: bytes, name: str
) -> None:
    before = set(uploads.rglob("*.*"))
    answer = upload(client, data, name)
    assert (answer.status_code, answer.json()["error"]) == (422, "BadPicture")
    assert set(uploads.rglob("*.*")) == before


def test_one_that_is_none_takes_the_others_with_it(client: TestClient, uploads: Path) -> None:
    before = set(uploads.rglob("*.*"))
    files = [("files", ("mixed.png", png((9, 9)))), ("files", ("mixed.html", b"<b>"))]
    assert client.post("/gradio_api/upload", files=files).status_code == 422
    assert set(uploads.rglob("*.*")) == before


def test_an_upload_is_cut_off_where_it_is_too_large(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    promised = client.post("/gradio_api/upload", content=b"x", headers={"Content-Length": str(2**40)})
    assert promised.status_code == 413


OUTSIDE = (
    *("/etc/passwd", "/proc/self/environ", "~/.ssh/id_rsa", "README.md", "modules/app/cli.py", "", ".", ".."),
    *("C:\\Windows\\win.ini", "C:/Windows/win.ini", "\\\\host\\share\\a.png", "//host/share/a.png", "NUL", "CON"),
    *("file:///etc/passwd", "http://127.0.0.1/a.png", "https://example.com/a.png"),
    *("%2e%2e/%2e%2e/etc/passwd", "..%2f..%2fetc%2fpasswd", "%00", "a.png\0.html"),
)
"""Paths that lead to no upload, as a stranger would write them."""


@pytest.fixture(scope="module")
def traps(client: TestClient, uploads: Path) -> list[str]:
    """Paths that begin as an upload's do and lead elsewhere."""
    (path,) = upload(client, png((3, 3)), "mine.png").json()
    good = Path(path)
    secret = uploads.parent / "secret.png"
    secret.write_bytes(png((4, 4)))
    link, folder = good.with_name("link.png"), uploads / ("f" * 64)
    link.symlink_to(secret)
    folder.symlink_to(uploads.parent, target_is_directory=True)
    (uploads / "loose.png").write_bytes(png((5, 5)))
    return [
        str(link),
        f"{folder}/secret.png",
        f"{uploads}/loose.png",
        f"{uploads}/../secret.png",
        f"{good.parent}/../../secret.png",
        f"{good.parent}/./{good.name}",
        f"{good.parent}//{good.name}",
        f"{good}/",
        f"{good}\0",
        f"{good}\0.html",
        f"{good}%00",
        f"{good.parent}\\{good.name}",
        f"{good.parent}/..%2f..%2fsecret.png",
        f"{good.parent}/%2e%2e/%2e%2e/secret.png",
        str(good).upper(),
        str(good.parent),
        str(uploads),
        f"/.{good}",
        f"{good}:stream",
        os.path.relpath(good),
    ]


def spellings(path: str) -> Iterator[str]:
    """A path as it may stand in an address: as it is where that can be, and with everything encoded, once and twice."""
    encoded = "".join(f"%{byte:02X}" for byte in path.encode())
    if "/./" not in path:  # which a client takes out itself
        yield quote(path)
    yield from (encoded, quote(encoded))


def test_no_other_file_is_served(client: TestClient, traps: list[str]) -> None:
    for path in (*OUTSIDE, *traps):
        for spelling in spellings(path):
            answer = client.get(f"/gradio_api/file={spelling}")
            assert answer.status_code in (403, 404), path
            assert b"PNG" not in answer.content


def test_no_call_takes_another_file_for_an_upload(client: TestClient, traps: list[str]) -> None:
    """gradio would copy any file of this machine for whoever names it, and fetch any address."""
    for path in (*OUTSIDE, *traps):
        data = [{"path": path, "meta": {"_type": "gradio.FileData"}}]
        for route in ("run/predict", "queue/join", "run/some_name/"):
            body = {"data": data, "fn_index": 1, "session_hash": "x"}
            answer = client.post(f"/gradio_api/{route}", json=body)
            assert (answer.status_code, answer.json()["error"]) == (403, "Forbidden"), path
    nested = {"data": [[{"image": {"path": "/etc/passwd"}}]], "event_data": {"path": ["/etc/passwd"]}}
    assert client.post("/gradio_api/run/predict", json=nested).status_code == 403


@pytest.mark.parametrize("body", [b"{", b"", b"[" * 100_000, b"\xff\xfe[", b'{"data": ' + b"[" * 70 + b"]" * 70 + b"}"])
def test_a_call_that_is_no_plain_json_is_refused(client: TestClient, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    assert client.post("/gradio_api/run/predict", content=body, headers=headers).status_code == 422


@pytest.mark.parametrize("folder", ["static", "assets"])
@pytest.mark.parametrize(
    "path",
    ["../index.html", "..%2findex.html", "%2e%2e/%2e%2e/routes.py", "....//routes.py", "/etc/passwd", "%2fetc%2fpasswd",
     "..\\routes.py", "C:%5cWindows%5cwin.ini", "NUL", "a%00.js", "%252e%252e/routes.py"],
)  # fmt: skip
def test_gradios_own_files_end_at_their_folder(client: TestClient, folder: str, path: str) -> None:
    answer = client.get(f"/{folder}/{path}")
    assert answer.status_code in (400, 403, 404)
    assert b"import " not in answer.content and b"root:" not in answer.content


GUARDED = [
    ("GET", "/"),
    ("GET", "/config"),
    ("GET", "/gradio_api/file=/etc/passwd"),
    ("POST", "/gradio_api/upload"),
    ("POST", "/gradio_api/run/predict"),
    ("POST", "/gradio_api/queue/join"),
    ("GET", "/gradio_api/queue/data?session_hash=x"),
    ("GET", "/gradio_api/heartbeat/x"),
    ("GET", "/theme.css"),
]


@pytest.mark.parametrize(("method", "path"), GUARDED)
@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example", "X-Forwarded-Host": "127.0.0.1:7860"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:3000"},
        {"Origin": f"{FRIEND}.evil.example"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    ],
    ids=lambda headers: "-".join(headers.values()),
)
def test_a_strangers_page_reaches_none_of_gradios_routes(
    client: TestClient, method: str, path: str, headers: dict[str, str]
) -> None:
    answer = client.request(method, path, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (403, "Forbidden")
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("origin", ["http://localhost", "http://127.0.0.1:7860", "http://localhost:7860", "null"])
def test_gradios_own_leave_for_pages_of_other_addresses_is_withheld(client: TestClient, origin: str) -> None:
    """Without us it lets every page of this machine read with the person's login."""
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    for answer in (client.get("/config", headers=headers), client.options("/config", headers=headers)):
        assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_a_page_that_the_owner_names_gets_in(client: TestClient) -> None:
    answer = client.get("/config", headers={"Origin": FRIEND})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == FRIEND
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert "Origin" in answer.headers["vary"]
    asked = {
        "Origin": FRIEND,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    before = client.options("/gradio_api/run/predict", headers=asked)
    assert (before.status_code, before.headers["access-control-allow-origin"]) == (200, FRIEND)
    assert "content-type" in before.headers["access-control-allow-headers"].casefold()


def test_the_page_says_what_it_may_load(client: TestClient) -> None:
    answer = client.get("/")
    first, frames = answer.headers.get_list("Content-Security-Policy")
    assert first == policy(answer.content)
    assert frames == "frame-ancestors 'self'"
    script = next(rule for rule in first.split("; ") if rule.startswith("script-src"))
    assert "unsafe-inline" not in script and "http" not in script
    assert len(re.findall(r"'sha256-[\w+/]{43}='", script)) == len(re.findall(r"<script(?![^>]*src=)", answer.text))
    assert answer.headers["content-encoding"] == "gzip"
    plain = client.get("/", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert "Stable Diffusion checkpoint" in plain.text


def test_websockets_are_closed(client: TestClient) -> None:
    from starlette.websockets import WebSocketDisconnect

    for headers in ({}, {"origin": "https://evil.example"}):
        with pytest.raises(WebSocketDisconnect) as closed, client.websocket_connect("/gradio_api/ws", headers=headers):
            pass
        assert closed.value.code in (1000, 1008)


def test_the_folder_of_uploads_is_gradios(tmp_path: Path) -> None:
    assert Uploads.of({"GRADIO_TEMP_DIR": str(tmp_path)}).root == tmp_path.resolve()
    assert str(Uploads.of({}).root) == str((Path(gradio.routes.tempfile.gettempdir()) / "gradio").resolve())
