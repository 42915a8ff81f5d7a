"""Pictures by their address: from the public network alone, in bounds, and only where the owner wants it (A005)."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from fastapi.testclient import TestClient

from modules.api.fetch import SECONDS, Fetch, NotFetched, is_public, picture_of
from modules.params import BadRequest, Settings

from .conftest import png

PICTURE = png()


class Web(BaseHTTPRequestHandler):
    """Pages of the web, by their path; what was asked for is noted."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers["User-Agent"]))  # type: ignore[attr-defined]
        getattr(self, "tell_" + self.path.split("?")[0].strip("/"))()

    def answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def tell_picture(self) -> None:
        self.answer(PICTURE)

    def tell_page(self) -> None:
        self.answer(b"<html>no picture</html>", **{"Content-Type": "image/png"})

    def tell_missing(self) -> None:
        self.answer(b"", 404)

    def tell_moved(self) -> None:
        self.answer(b"", 302, Location="/picture")

    def tell_round(self) -> None:
        self.answer(b"", 302, Location="/round")

    def tell_inside(self) -> None:
        self.answer(b"", 302, Location=f"http://inside.example:{self.server.server_port}/picture")  # type: ignore[attr-defined]

    def tell_file(self) -> None:
        self.answer(b"", 302, Location="file:///etc/passwd")

    def tell_promises(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(10**12))
        self.end_headers()

    def tell_endless(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while True:
            try:
                self.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
            except OSError:
                return

    def tell_slow(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        for _ in range(1000):
            try:
                self.wfile.write(b"0")
                self.wfile.flush()
            except OSError:
                return
            time.sleep(0.05)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def web() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    server.daemon_threads = True
    server.asked = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def fetch(web: ThreadingHTTPServer, page: str, **options: Any) -> bytes:
    return Fetch(**{"allow_local": True, **options}).picture(f"http://127.0.0.1:{web.server_port}/{page}")


def test_a_picture_is_fetched_under_our_name(web: ThreadingHTTPServer) -> None:
    assert fetch(web, "picture") == PICTURE
    assert fetch(web, "picture?x=1", user_agent="Mine") == PICTURE
    assert web.asked == [("/picture", "Tagbrush"), ("/picture?x=1", "Mine")]  # type: ignore[attr-defined]
    assert SECONDS == 30


def test_it_is_followed_where_it_moved(web: ThreadingHTTPServer) -> None:
    assert fetch(web, "moved") == PICTURE


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("page", "no picture"),
        ("missing", "404"),
        ("round", "more than 5"),
        ("file", "http or https"),
        ("promises", "larger than 64 MB"),
    ],
)
def test_what_is_no_picture_within_bounds_is_refused(web: ThreadingHTTPServer, page: str, words: str) -> None:
    with pytest.raises(NotFetched, match=words):
        fetch(web, page)


def test_a_length_that_was_not_promised_is_counted(web: ThreadingHTTPServer) -> None:
    with pytest.raises(NotFetched, match="larger than 1 MB"):
        fetch(web, "endless", most=2**20)


def test_drops_of_a_picture_do_not_prolong_its_time(web: ThreadingHTTPServer) -> None:
    begun = time.monotonic()
    with pytest.raises(NotFetched, match="not come within"):
        fetch(web, "slow", seconds=1)
    assert time.monotonic() - begun < 30


def test_looking_up_a_name_is_part_of_the_time() -> None:
    stop = threading.Event()

    def late(name: str, port: int) -> list[str]:
        stop.wait(60)
        return ["8.8.8.8"]

    try:
        with pytest.raises(NotFetched, match="not found within"):
            Fetch(resolve=late, seconds=0.1, clock=lambda: 0.0).picture("http://late.example/a.png")
    finally:
        stop.set()


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.255.255.254", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
        *("100.64.0.1", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1"),
        *("240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "fec0::1"),
        *("ff02::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "::127.0.0.1"),
        *("64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::", "2002:c0a8:101::1"),
        "2001:0:4136:e378:8000:63bf:80ff:fffe",  # Teredo of 127.0.0.1
        *("localhost", "", "127.1", "0x7f.1"),
    ],
)
def test_an_address_that_is_not_of_the_public_network_is_none(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_an_address_of_the_public_network_is_one(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{}/picture",
        "http://localhost:{}/picture",
        "http://[::ffff:127.0.0.1]:{}/picture",
        "http://2130706433:{}/picture",
        "http://0x7f000001:{}/picture",
        "http://127.1:{}/picture",
        "http://0:{}/picture",
        "HTTP://LOCALHOST:{}/picture",
    ],
)
def test_no_spelling_of_this_machine_is_fetched_from(web: ThreadingHTTPServer, url: str) -> None:
    with pytest.raises(NotFetched):
        Fetch().picture(url.format(web.server_port))
    assert web.asked == []  # type: ignore[attr-defined]


def test_one_address_inside_is_enough_to_refuse_a_name(web: ThreadingHTTPServer) -> None:
    with pytest.raises(NotFetched, match="own network"):
        Fetch(resolve=lambda name, port: ["8.8.8.8", "127.0.0.1"]).picture("http://both.example/picture")


def test_a_name_is_looked_up_once_a_connection_so_it_cannot_change_its_mind(
    web: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: public when it is checked, this machine when it is connected to."""
    answers = iter([["93.184.216.34"], ["127.0.0.1"]])
    connected: list[str] = []

    def connect(address: tuple[str, int], *_: Any, **__: Any) -> socket.socket:
        connected.append(address[0])
        raise OSError("not reachable from here")

    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(NotFetched, match="not reachable"):
        Fetch(resolve=lambda name, port: next(answers)).picture(f"http://rebinds.example:{web.server_port}/picture")
    assert connected == ["93.184.216.34"]
    assert web.asked == []  # type: ignore[attr-defined]


def test_a_connection_that_ends_up_inside_is_cut_before_anything_is_asked(
    web: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = socket.create_connection

    def astray(address: tuple[str, int], *given: Any, **options: Any) -> socket.socket:
        return connect(("127.0.0.1", web.server_port), *given, **options)

    monkeypatch.setattr(socket, "create_connection", astray)
    with pytest.raises(NotFetched, match="own network"):
        Fetch(resolve=lambda name, port: ["93.184.216.34"]).picture("http://astray.example/picture")
    assert web.asked == []  # type: ignore[attr-defined]


def test_a_redirection_is_checked_as_the_first_address_is(web: ThreadingHTTPServer) -> None:
    """The first page may be fetched from here; what it sends on to is refused."""

    class FirstOnly(Fetch):
        def addresses(self, name: str, port: int, end: float) -> list[str]:
            return ["127.0.0.1"] if name == "outside.example" else super().addresses(name, port, end)

    sees_all: Callable[[str, int], list[str]] = lambda name, port: ["127.0.0.1"]  # noqa: E731
    fetch = FirstOnly(resolve=sees_all)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("modules.api.fetch.is_public", lambda text: text == "127.0.0.1" and not web.asked)  # type: ignore[attr-defined]
        with pytest.raises(NotFetched, match=r'"inside.example" is in this machine'):
            fetch.picture(f"http://outside.example:{web.server_port}/inside")
    assert [path for path, _ in web.asked] == ["/inside"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "url", ["ftp://a/b", "file:///etc/passwd", "http://", "http://[", "http://u:p@8.8.8.8/", "http://a b/", "http:///x"]
)
def test_what_is_no_plain_address_is_refused_in_words(url: str) -> None:
    with pytest.raises(NotFetched):
        Fetch().picture(url)


def test_it_is_off_until_the_owner_turns_it_on(web: ThreadingHTTPServer) -> None:
    url = f"http://127.0.0.1:{web.server_port}/picture"
    plain = Settings()
    assert (plain.api_enable_requests, plain.api_forbid_local_requests, plain.api_useragent) == (False, True, "")
    with pytest.raises(NotFetched, match="not fetched from the network"):
        picture_of(url, plain)
    with pytest.raises(NotFetched, match="own network"):
        picture_of(url, plain.overridden({"api_enable_requests": True}))
    assert web.asked == []  # type: ignore[attr-defined]
    owners = plain.overridden({"api_enable_requests": True, "api_forbid_local_requests": False, "api_useragent": "Me"})
    assert picture_of(url, owners) == PICTURE
    assert web.asked == [("/picture", "Me")]  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["api_enable_requests", "api_useragent", "api_forbid_local_requests"])
def test_a_client_cannot_turn_it_on(reader: TestClient, name: str) -> None:
    value: Any = "x" if name == "api_useragent" else name == "api_enable_requests"
    with pytest.raises(BadRequest, match="owner alone"):
        Settings().requested({name: value})
    before = reader.get("/tagbrush/v1/options").json()
    assert reader.post("/tagbrush/v1/options", json={name: value}).status_code == 422
    reader.post("/sdapi/v1/options", json={name: value})
    job = {"task": "txt2img", "override_settings": {name: value}}
    assert reader.post("/tagbrush/v1/jobs", json=job).status_code == 422
    assert reader.get("/tagbrush/v1/options").json() == before
    assert reader.post("/tagbrush/v1/options", json=before).status_code == 200  # sent back as it was read


def test_the_api_says_why_an_address_is_not_fetched(client: TestClient, web: ThreadingHTTPServer) -> None:
    url = f"http://127.0.0.1:{web.server_port}/picture"
    answer = client.post("/sdapi/v1/img2img", json={"init_images": [url], "prompt": "a lemon"})
    assert answer.status_code == 422
    assert "not fetched from the network" in answer.json()["detail"]
    assert web.asked == []  # type: ignore[attr-defined]
