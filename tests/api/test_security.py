"""Who may use the server."""

from __future__ import annotations

import base64

import pytest
from fastapi.testclient import TestClient
from starlette.datastructures import Headers

from modules.api import Hosts, Origins, Services
from modules.api.security import refusal
from modules.app.factory import create_app

from .conftest import ADDRESS

STATUS = "/tagbrush/v1/status"
OURS = {"host": "127.0.0.1:7860"}


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:7860", "LOCALHOST", "[::1]:7860", "127.9.9.9"])
def test_a_loopback_name_is_ours(host: str) -> None:
    assert Hosts.loopback().accepts(host)


@pytest.mark.parametrize(
    "host", ["", "evil.com", "localhost.evil.com", "127.0.0.1.evil.com", "192.168.1.2", "[", "a@127.0.0.1:x", "0.0.0.0"]
)
def test_another_name_is_not(host: str) -> None:
    assert not Hosts.loopback().accepts(host)


@pytest.mark.parametrize(
    "host",
    ["host.docker.internal:7860", "sd:7860", "stable_diffusion:7860", "SD", "studio.local", "nas.home.arpa:80",
     "pictures.localhost:7860"],
)  # fmt: skip
@pytest.mark.parametrize("hosts", [Hosts.loopback(), Hosts.network([])])
def test_a_name_that_no_stranger_can_have_is_ours(host: str, hosts: Hosts) -> None:
    """Open WebUI in Docker, and services of a compose file, call this server by such names."""
    assert hosts.accepts(host)


@pytest.mark.parametrize(
    "host", ["internal.evil.com", "evilinternal.com", "evil.com.", "x.localhost.evil.com", "evil-local.net", "sd.lan"]
)
@pytest.mark.parametrize("hosts", [Hosts.loopback(), Hosts.network([])])
def test_one_that_only_looks_like_it_is_not(host: str, hosts: Hosts) -> None:
    assert not hosts.accepts(host)


def test_an_address_of_the_network_is_no_name_without_a_dot() -> None:
    assert not Hosts.loopback().accepts("[fe80::1]:7860")


@pytest.mark.parametrize("host", ["host.docker.internal:7860", "sd:7860"])
def test_under_such_a_name_foreign_pages_are_as_foreign_as_ever(host: str) -> None:
    for headers in (
        {"origin": "http://evil.com"},
        {"origin": "null"},
        {"origin": f"http://{host}0"},
        {"origin": "http://localhost:7860"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
    ):
        assert refusal(Headers({"host": host, **headers}), Hosts.loopback())
    assert refusal(Headers({"host": host, "origin": f"http://{host}"}), Hosts.loopback()) is None
    assert refusal(Headers({"host": host}), Hosts.loopback()) is None


@pytest.mark.parametrize("host", ["192.168.1.2:7860", "studio:7860", "STUDIO", "localhost", "[fe80::1]:7860"])
def test_a_server_on_the_network_has_its_names_and_every_address_in_digits(host: str) -> None:
    assert Hosts.network(["studio"]).accepts(host)
    assert not Hosts.network(["studio"]).accepts("evil.com")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://127.0.0.1:7860"},
        {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
        {"sec-fetch-site": "none", "sec-fetch-mode": "navigate"},
    ],
)
def test_programs_own_pages_and_links_pass(headers: dict[str, str]) -> None:
    assert refusal(Headers({**OURS, **headers}), Hosts.loopback()) is None


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.com"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:8000"},
        {"origin": "http://localhost:7860"},
        {"origin": "http://127.0.0.1:7860.evil.com"},
        {"origin": "http://["},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"},
    ],
)
def test_a_foreign_page_does_not(headers: dict[str, str]) -> None:
    assert refusal(Headers({**OURS, **headers}), Hosts.loopback())


def test_a_refusal_runs_nothing_and_is_a_403(client: TestClient) -> None:
    for headers in ({"Host": "evil.com"}, {"Origin": "http://evil.com"}):
        answer = client.post("/tagbrush/v1/jobs", json={"task": "txt2img"}, headers=headers)
        assert answer.status_code == 403
        assert answer.json()["error"] == "Forbidden"
    assert client.get("/tagbrush/v1/jobs").json() == []


@pytest.mark.parametrize(("path", "status"), [("/", 200), ("/docs", 200), (STATUS, 200), ("/nothing", 404)])
def test_no_answer_lets_other_sites_frame_it(reader: TestClient, path: str, status: int) -> None:
    answer = reader.get(path)
    assert answer.status_code == status
    assert answer.headers.get_list("Content-Security-Policy")[-1] == "frame-ancestors 'self'"
    assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"


def test_no_answer_lets_other_sites_read_it(reader: TestClient) -> None:
    answer = reader.options(STATUS, headers={"Origin": ADDRESS, "Access-Control-Request-Method": "POST"})
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_a_page_that_may_use_the_server_may_use_every_method_of_it(services: Services, method: str) -> None:
    with TestClient(create_app(services, origins=Origins.of(["https://friend.example"])), base_url=ADDRESS) as client:
        headers = {"Origin": "https://friend.example", "Access-Control-Request-Method": method}
        answer = client.options("/tagbrush/v1/options", headers=headers)
        assert answer.status_code == 200
        assert method in answer.headers["access-control-allow-methods"]


def test_a_login_opens_every_route_and_nothing_else_does(services: Services) -> None:
    def basic(login: str) -> dict[str, str]:
        return {"Authorization": "Basic " + base64.b64encode(login.encode()).decode()}

    app = create_app(services, logins=["ann:pä:ss", "bob:x"])
    with TestClient(app, base_url=ADDRESS) as client:
        for path in (STATUS, "/", "/docs", "/sdapi/v1/options", "/tagbrush/assets/css/tagbrush.css"):
            assert client.get(path).status_code == 401
        assert client.get(STATUS).headers["www-authenticate"].startswith("Basic")
        for login in ("ann:pä:ss", "bob:x"):
            assert client.get(STATUS, headers=basic(login)).status_code == 200
        for login in ("ann:x", "", ":", "bob:", "bob:xx"):
            assert client.get(STATUS, headers=basic(login)).status_code == 401
        assert client.get(STATUS, headers={"Authorization": "Bearer x"}).status_code == 401


def test_answers_say_how_long_they_took(reader: TestClient) -> None:
    assert float(reader.get(STATUS).headers["x-process-time"]) >= 0
