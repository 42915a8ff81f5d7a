"""Behind a reverse proxy: who asked, for which address, and below which path."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx import ASGITransport, AsyncClient
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from modules.api import BehindProxy, Hosts, Origins, Proxies, Services
from modules.app.factory import create_app

from .conftest import ADDRESS

PROXY, STRANGER = "10.0.0.2", "203.0.113.9"
TRUSTED = Proxies.of(["10.0.0.0/8", "127.0.0.1", "::1"])
HOSTS = Hosts(frozenset({"localhost", "127.0.0.1", "pictures.example"}))


async def mirror(scope: Scope, receive: Receive, send: Send) -> None:
    """Tells how the request looks from inside."""
    request = Request(scope, receive)
    client = request.client.host if request.client else None
    told = {"client": client, "scheme": request.url.scheme, "host": request.headers["host"], "path": scope["path"]}
    told |= {"headers": sorted(request.headers), "root": scope.get("root_path", ""), "url": str(request.url)}
    await JSONResponse(told)(scope, receive, send)


def seen(path: str = "/", *, peer: str = PROXY, subpath: str = "", **headers: str) -> Any:
    async def asked() -> Any:
        app = BehindProxy(mirror, HOSTS, TRUSTED, subpath)
        transport = ASGITransport(app, client=(peer, 5))
        async with AsyncClient(transport=transport, base_url="http://127.0.0.1:7860") as client:
            return await client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    answer = asyncio.run(asked())
    return answer if answer.is_redirect else answer.json()


FORWARDED = {
    "X_Forwarded_For": "198.51.100.7",
    "X_Forwarded_Proto": "https",
    "X_Forwarded_Host": "pictures.example",
    "X_Forwarded_Prefix": "/elsewhere",
    "X_Real_IP": "198.51.100.8",
    "Forwarded": "for=198.51.100.9;host=evil.example",
    "X_Gradio_Server": "http://evil.example",
}


def test_a_trusted_proxys_word_is_taken() -> None:
    told = seen(**FORWARDED)
    assert (told["client"], told["scheme"], told["host"]) == ("198.51.100.7", "https", "pictures.example")
    assert told["url"] == "https://pictures.example/"


def test_nobody_elses_is() -> None:
    told = seen(peer=STRANGER, **FORWARDED)
    assert (told["client"], told["scheme"], told["host"]) == (STRANGER, "http", "127.0.0.1:7860")


@pytest.mark.parametrize("peer", [PROXY, STRANGER])
def test_nothing_behind_sees_what_a_proxy_said(peer: str) -> None:
    """gradio would believe it, whoever sent it."""
    names = seen(peer=peer, **FORWARDED)["headers"]
    assert not [name for name in names if "forwarded" in name or name in ("x-real-ip", "x-gradio-server")]


@pytest.mark.parametrize(
    ("given", "client"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("1.2.3.4, 198.51.100.7", "198.51.100.7"),  # the first is what the client claimed itself
        ("198.51.100.7, 10.9.9.9, 10.0.0.3", "198.51.100.7"),
        ("10.9.9.9, 10.0.0.3", "10.9.9.9"),
        ("198.51.100.7:4711", "198.51.100.7"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("evil", PROXY),
        ("198.51.100.7, evil", PROXY),
        ("", PROXY),
    ],
)
def test_the_last_address_that_is_no_proxy_is_the_clients(given: str, client: str) -> None:
    assert seen(X_Forwarded_For=given)["client"] == client


def test_a_scheme_is_one_of_two() -> None:
    assert seen(X_Forwarded_Proto="javascript")["scheme"] == "http"
    assert seen(X_Forwarded_Proto="http, https")["scheme"] == "https"


def test_a_rebound_name_is_not_covered_up_by_a_header_of_its_own_page(services: Services) -> None:
    """A page loaded from evil.example, which now leads to this machine, may send any header to it."""
    app = create_app(services, proxies=Proxies.of(["127.0.0.1"]))
    with TestClient(app, base_url=ADDRESS, client=("127.0.0.1", 5)) as client:
        headers = {"Host": "evil.example", "X-Forwarded-Host": "127.0.0.1:7860"}
        assert client.get("/tagbrush/v1/status", headers=headers).status_code == 403
        assert client.get("/tagbrush/v1/status", headers={"Host": "127.0.0.1"}).status_code == 200


def test_a_page_behind_a_proxy_is_its_own(services: Services) -> None:
    app = create_app(services, hosts=HOSTS, proxies=TRUSTED)
    with TestClient(app, base_url=ADDRESS, client=(PROXY, 5)) as client:
        ours = {"Origin": "https://pictures.example", "X-Forwarded-Host": "pictures.example"}
        assert client.post("/sdapi/v1/interrupt", headers=ours).status_code == 200
        evil = {**ours, "Origin": "https://evil.example"}
        assert client.post("/sdapi/v1/interrupt", headers=evil).status_code == 403
        as_evil = {"Origin": "https://evil.example", "X-Forwarded-Host": "evil.example"}
        assert client.post("/sdapi/v1/interrupt", headers=as_evil).status_code == 403


@pytest.mark.parametrize("text", ["", "x", "10.0.0.0/99", "*"])
def test_what_is_no_address_is_no_proxy(text: str) -> None:
    with pytest.raises(ValueError):
        Proxies.of([text])


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        ("/", "/pics/"),
        ("/pics/", "/pics/"),
        ("/pics/docs", "/pics/docs"),
        ("/docs", "/pics/docs"),
        ("/pics/tagbrush/v1/status", "/pics/tagbrush/v1/status"),
        ("/tagbrush/v1/status", "/pics/tagbrush/v1/status"),
        ("/picsel", "/pics/picsel"),
    ],
)
def test_a_proxy_may_keep_the_subpath_or_take_it_off(asked: str, path: str) -> None:
    told = seen(asked, subpath="/pics")
    assert (told["path"], told["root"]) == (path, "/pics")


def test_our_own_name_is_a_subpath_like_any_other() -> None:
    assert seen("/tagbrush/v1/status", subpath="/tagbrush")["path"] == "/tagbrush/tagbrush/v1/status"
    assert seen("/tagbrush/tagbrush/v1/status", subpath="/tagbrush")["path"] == "/tagbrush/tagbrush/v1/status"
    assert seen("/tagbrush/", subpath="/tagbrush")["path"] == "/tagbrush/"


def test_a_subpath_without_its_slash_is_sent_there() -> None:
    answer = seen("/pics", subpath="/pics")
    assert (answer.status_code, answer.headers["location"]) == (307, "/pics/")


@pytest.mark.parametrize("subpath", ["/pics", "/tagbrush", "/a/b"])
def test_every_kind_of_route_is_below_the_subpath(services: Services, subpath: str) -> None:
    with TestClient(create_app(services, subpath=subpath), base_url=ADDRESS) as client:
        for before in (subpath, ""):  # a proxy that keeps it, and one that takes it off
            assert client.get(f"{before}/tagbrush/v1/status").json()["ui"] == "off"
            assert "eta_relative" in client.get(f"{before}/sdapi/v1/progress").json()
            assert client.get(f"{before}/tagbrush/assets/javascript/main.js").status_code == 200
            assert client.get(f"{before}/", follow_redirects=False).headers["location"] == f"{subpath}/docs"
            docs = client.get(f"{before}/docs").text
            assert f"'{subpath}/openapi.json'" in docs and f'"{subpath}/tagbrush/docs/' in docs
            assert client.get(f"{before}/tagbrush/docs/swagger-ui.css").status_code == 200
            job = client.post(f"{before}/tagbrush/v1/jobs", json={"task": "txt2img", "width": 64, "height": 64})
            assert job.headers["location"] == f"{subpath}/tagbrush/v1/jobs/{job.json()['id']}"
            assert client.get(f"{before}/nothing").status_code == 404
            assert client.get(f"{before}/tagbrush/assets/%2e%2e/%2e%2e/params/settings.py").status_code == 404


LIST = Origins.of(["https://a.example/", " HTTP://B.example:8080"], r"https://\w+\.c\.example")


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://a.example", True),
        ("http://b.example:8080", True),
        ("https://x.c.example", True),
        ("http://a.example", False),
        ("https://a.example:8443", False),
        ("https://b.example:8080", False),
        ("https://x.c.example.evil.example", False),
        ("https://evil.example/https://x.c.example", False),
        ("https://x.y.c.example", False),
        ("null", False),
        ("", False),
        ("https://[", False),
    ],
)
def test_exactly_the_origins_that_the_owner_names_get_in(services: Services, origin: str, allowed: bool) -> None:
    with TestClient(create_app(services, origins=LIST, logins=["a:b"]), base_url=ADDRESS) as client:
        for path in ("/sdapi/v1/progress", "/nothing", "/tagbrush/assets/css/tagbrush.css"):
            asked = {"Origin": origin, "Access-Control-Request-Method": "GET"}
            for answer in (
                client.get(path, headers={"Origin": origin}, auth=("a", "b")),
                client.options(path, headers=asked),  # browsers send no login with this one
            ):
                told = {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}
                assert (answer.status_code != 403) == allowed
                assert told.get("access-control-allow-origin") == (origin if allowed else None)
                assert told.get("access-control-allow-credentials") == ("true" if allowed else None)
                assert "Origin" in answer.headers.get("vary", "") or not allowed
            assert client.get(path, headers={"Origin": origin}).status_code == (401 if allowed else 403)


def test_any_origin_gets_in_without_credentials_where_the_owner_says_so(services: Services) -> None:
    with TestClient(create_app(services, origins=Origins.of(["*"])), base_url=ADDRESS) as client:
        answer = client.get("/sdapi/v1/progress", headers={"Origin": "https://x.example"})
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers


def test_what_may_not_come_in_is_told_so_before_it_has_sent_everything(port: int) -> None:
    """On a real connection: the answer comes though the body it announces never does."""
    for head in (
        f"Host: 127.0.0.1:{port}\r\nContent-Length: 99999999999",
        f"Host: evil.example:{port}\r\nTransfer-Encoding: chunked",
    ):
        with socket.create_connection(("127.0.0.1", port), timeout=60) as line:
            line.sendall(f"POST /tagbrush/v1/inputs HTTP/1.1\r\n{head}\r\n\r\n".encode())
            assert line.recv(100).split(b" ")[1] in (b"413", b"403")


def test_a_chunked_body_is_counted_on_a_real_connection(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as line:
        line.sendall(
            f"POST /tagbrush/v1/jobs HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
            "Transfer-Encoding: chunked\r\n\r\n".encode()
        )
        sent = 0
        try:
            while sent < 64 * 2**20:
                line.sendall(b"100000\r\n" + b" " * 0x100000 + b"\r\n")
                sent += 2**20
        except OSError:
            pass  # it was cut off
        assert sent < 64 * 2**20
