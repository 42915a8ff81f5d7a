"""The shell first, then the page."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from modules.api import Services
from modules.app.factory import create_app
from tests.api.conftest import ADDRESS, until

STATUS = "/tagbrush/v1/status"


class SlowPage:
    """A page that takes as long as `go` is not set, and notes the beginning and end of its life."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.life: list[str] = []

    def mount(self, app: FastAPI, services: Services) -> None:
        self.go.wait(120)

        @asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[None]:
            self.life.append("begins")
            yield
            self.life.append("ends")

        app.router.lifespan_context = lifespan

        @app.get("/{path:path}")
        def page(path: str) -> str:
            return f"the page at /{path}"


@pytest.fixture
def page() -> Iterator[SlowPage]:
    page = SlowPage()
    yield page
    page.go.set()


def test_a_path_with_nothing_is_told_twice_like_every_error(services: Services, page: SlowPage) -> None:
    with TestClient(create_app(services, mount=page.mount), base_url=ADDRESS) as client:
        answer = client.get("/sdapi/v1/nothing").json()
        page.go.set()
    assert answer["errors"] == answer["detail"] == "There is nothing at /sdapi/v1/nothing."


def test_the_shell_is_there_until_the_page_is(services: Services, page: SlowPage) -> None:
    with TestClient(create_app(services, mount=page.mount), base_url=ADDRESS) as client:
        shell = client.get("/")
        assert shell.headers["cache-control"] == "no-store"
        assert "<tb-cards" in shell.text
        assert client.get(STATUS).json()["ui"] == "starting"
        assert client.get("/config").status_code == 503
        assert client.get("/sdapi/v1/nothing").status_code == 404
        assert client.get("/tagbrush/v1/catalogue/lora").json()["total"] == 3
        page.go.set()
        until(lambda: client.get(STATUS).json()["ui"] == "ready")
        assert client.get("/").json() == "the page at /"
        assert client.get("/config").json() == "the page at /config"
        assert client.get("/sdapi/v1/progress").json()["progress"] == 0
        assert client.get("/sdapi/v1/nothing").json()["error"] == "NotFound"
        assert page.life == ["begins"]
    assert page.life == ["begins", "ends"]


def test_a_page_that_breaks_leaves_the_api_alone(services: Services, caplog: pytest.LogCaptureFixture) -> None:
    def broken(app: FastAPI, services: Services) -> None:
        raise RuntimeError("no gradio here")

    with TestClient(create_app(services, mount=broken), base_url=ADDRESS) as client:
        until(lambda: client.get(STATUS).json()["ui"] == "failed")
        assert "no gradio here" in client.get(STATUS).json()["ui_message"]
        assert client.post("/sdapi/v1/txt2img", json={"prompt": "a cat"}).status_code == 200
    assert "could not be built" in caplog.text


def test_stopping_does_not_wait_for_a_page_that_is_being_built(services: Services, page: SlowPage) -> None:
    begun = time.monotonic()
    with TestClient(create_app(services, mount=page.mount), base_url=ADDRESS) as client:
        assert client.get("/").status_code == 200
    assert time.monotonic() - begun < 60


def test_without_a_page_the_documentation_takes_its_place(client: TestClient) -> None:
    answer = client.get("/", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, "/docs")
    assert client.get(STATUS).json()["ui"] == "off"


@pytest.mark.parametrize("path", ["javascript/main.js", "css/tagbrush.css"])
def test_the_pages_own_files_are_served_fresh(client: TestClient, path: str) -> None:
    answer = client.get(f"/tagbrush/assets/{path}")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-cache"
    again = client.get(f"/tagbrush/assets/{path}", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


@pytest.mark.parametrize(
    ("path", "kind"),
    [("javascript/main.js", "text/javascript"), ("css/tagbrush.css", "text/css"), ("css/brush.svg", "image/svg+xml")],
)
def test_they_are_what_they_are_whatever_the_system_thinks(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, path: str, kind: str
) -> None:
    """On Windows another program may have registered .js as plain text, which no browser runs."""
    monkeypatch.setattr("starlette.responses.guess_type", lambda path: ("text/plain", None))
    content_type = client.get(f"/tagbrush/assets/{path}").headers["content-type"]
    assert content_type.partition(";")[0] == kind


@pytest.mark.parametrize("path", ["page.py", "shell.html", "../params/settings.py", "%2e%2e/params/settings.py", ""])
def test_nothing_else_of_the_package_is(client: TestClient, path: str) -> None:
    assert client.get(f"/tagbrush/assets/{path}").status_code == 404
