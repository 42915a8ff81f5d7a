"""The documentation page: whole, and from this server alone."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient
from playwright.sync_api import Browser, expect

from modules.app.server import Server


def test_the_documentation_names_no_other_server(client: TestClient) -> None:
    page = client.get("/docs").text
    named = re.findall(r"""(?:src|href)=["']([^"']+)""", page)
    assert len(named) == 3
    for address in named:
        assert address.startswith("/tagbrush/")
        assert client.get(address).status_code == 200
    assert "://" not in page.replace("http://www.w3.org", "")
    assert client.get("/redoc").status_code == 404


def test_only_what_the_documentation_is_made_of_is_served_with_it(client: TestClient) -> None:
    assert client.get("/tagbrush/docs/swagger-ui.css").headers["content-type"].startswith("text/css")
    assert client.get("/tagbrush/docs/%2e%2e/main.py").status_code == 404
    assert client.get("/tagbrush/docs/__init__.py").status_code == 404


def test_a_known_path_with_an_unknown_method_is_told_which_there_are(client: TestClient) -> None:
    answer = client.patch("/tagbrush/v1/jobs")
    assert (answer.status_code, answer.json()["error"]) == (405, "HTTPException")
    assert "POST" in answer.headers["allow"]


@pytest.mark.browser
def test_the_documentation_is_drawn_without_a_network(server: Server, browser: Browser) -> None:
    asked: list[str] = []
    errors: list[str] = []
    with browser.new_page() as page:
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.goto(f"http://127.0.0.1:{server.config.port}/docs")
        expect(page.get_by_text("Submit a job", exact=True)).to_be_visible(timeout=60_000)
        page.get_by_text("Submit a job", exact=True).click()
        expect(page.get_by_text("Puts the request at the end of the queue").first).to_be_visible()
    assert errors == []
    assert {address.split("/")[2] for address in asked if "://" in address} == {f"127.0.0.1:{server.config.port}"}
