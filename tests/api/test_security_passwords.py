"""Logins: every route asks, and guessing is slow without slowing anybody else down (A001)."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx import ASGITransport, AsyncClient
from starlette.responses import PlainTextResponse

from modules.api import AskPassword, Services
from modules.api import passwords as passwords_module
from modules.api.passwords import FREE, LONGEST_WAIT, REMEMBERED, WAITING, SlowDown
from modules.app.factory import create_app

from .conftest import ADDRESS

STATUS = "/tagbrush/v1/status"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def basic(login: str, code: str = "utf-8") -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(login.encode(code)).decode()}


def ask(app: Any, login: str | None, address: str = "192.0.2.1") -> Any:
    return asyncio.run(asked(app, login, address))


async def asked(app: Any, login: str | None, address: str = "192.0.2.1") -> Any:
    return await sent(app, basic(login) if login is not None else {}, address)


async def sent(app: Any, headers: dict[str, str], address: str = "192.0.2.1") -> Any:
    async with AsyncClient(transport=ASGITransport(app, client=(address, 1)), base_url=ADDRESS) as client:
        return await client.get("/", headers=headers)


@pytest.fixture
def slow_down() -> SlowDown:
    return SlowDown(Clock())


@pytest.fixture
def app(slow_down: SlowDown) -> AskPassword:
    return AskPassword(PlainTextResponse("in"), ["ann:right", "bob:also"], slow_down)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Waiting takes no time, and is noted."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(passwords_module.asyncio, "sleep", sleep)
    yield waited


def test_a_login_is_compared_as_bytes_in_both_of_the_codes_clients_use() -> None:
    app = AskPassword(PlainTextResponse("in"), ["ann:pä:ss", "jürgen:日本"])
    for login, code in (("ann:pä:ss", "utf-8"), ("ann:pä:ss", "latin-1"), ("jürgen:日本", "utf-8")):
        assert asyncio.run(sent(app, basic(login, code))).text == "in"
        assert asyncio.run(sent(app, basic(login + "x", code))).status_code == 401


@pytest.mark.parametrize("header", ["Basic", "Basic ", "Basic !!!", "Basic YQ==", "Bearer YTpi", "Basic " + "A" * 9999])
def test_what_is_no_login_is_asked_again_and_counts_as_no_guess(
    app: AskPassword, slow_down: SlowDown, header: str
) -> None:
    for _ in range(20):
        assert asyncio.run(sent(app, {"Authorization": header})).status_code == 401
    assert len(slow_down) == 0


def test_mistakes_of_a_person_cost_nothing_and_guessing_costs_ever_more(app: AskPassword, quick: list[float]) -> None:
    for number in range(FREE):
        assert ask(app, f"ann:{number}").status_code == 401
    assert quick == []
    for number in range(8):
        assert ask(app, f"ann:guess{number}").status_code == 401
    assert quick == [0.25, 0.5, 1.0, 2.0, 4.0, LONGEST_WAIT, LONGEST_WAIT, LONGEST_WAIT]


def test_the_right_password_waits_as_a_wrong_one_does_and_then_is_let_in(app: AskPassword, quick: list[float]) -> None:
    for number in range(FREE + 2):
        ask(app, f"ann:{number}")
    quick.clear()
    assert ask(app, "ann:right").text == "in"
    assert quick == [1.0]
    assert ask(app, "ann:right").text == "in"
    assert quick == [1.0]  # counted off


def test_guesses_slow_nobody_else_down(app: AskPassword, quick: list[float]) -> None:
    for number in range(50):
        ask(app, f"ann:{number}")
    quick.clear()
    assert ask(app, "ann:right", "192.0.2.2").text == "in"  # the same name, from elsewhere
    assert ask(app, "bob:also").text == "in"  # another name, from there
    assert ask(app, None).status_code == 401
    assert quick == []


def test_a_persons_whole_network_counts_as_one_address(app: AskPassword, quick: list[float]) -> None:
    for number in range(FREE + 1):
        ask(app, f"ann:{number}", f"2001:db8::{number + 1:x}")
    assert quick == [0.25]


def test_knowing_one_password_does_not_help_to_guess_another(app: AskPassword, quick: list[float]) -> None:
    for number in range(FREE + 1):
        ask(app, f"ann:{number}")
        assert ask(app, "bob:also").text == "in"
    assert quick == [0.25]


def test_after_a_quiet_while_the_count_begins_anew(app: AskPassword, slow_down: SlowDown, quick: list[float]) -> None:
    for number in range(FREE + 1):
        ask(app, f"ann:{number}")
    quick.clear()
    slow_down._clock.now += 901  # type: ignore[attr-defined]
    assert ask(app, "ann:x").status_code == 401
    assert quick == []


def test_what_is_remembered_has_a_bound(slow_down: SlowDown) -> None:
    for number in range(REMEMBERED + 100):
        slow_down.wrong(str(number).encode())
    assert len(slow_down) == REMEMBERED


def test_waiting_blocks_nobody_and_too_many_attempts_at_a_time_are_sent_away(
    app: AskPassword, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(FREE):
        ask(app, f"ann:{number}")
    rest = asyncio.sleep

    async def crowd() -> list[int]:
        waiting, over = 0, asyncio.Event()

        async def sleep(seconds: float) -> None:
            nonlocal waiting
            waiting += 1
            await over.wait()

        monkeypatch.setattr(passwords_module.asyncio, "sleep", sleep)
        async with asyncio.timeout(60):
            guesses = [asyncio.create_task(asked(app, f"ann:x{number}")) for number in range(WAITING + 4)]
            while waiting < WAITING or sum(guess.done() for guess in guesses) < 4:
                await rest(0.001)
            assert (await asked(app, "bob:also")).text == "in"
            over.set()
            return sorted([answer.status_code for answer in await asyncio.gather(*guesses)])

    assert asyncio.run(crowd()) == [401] * WAITING + [429] * 4
    monkeypatch.setattr(passwords_module.asyncio, "sleep", rest)
    assert ask(app, "ann:right", "192.0.2.9").text == "in"


def test_one_sent_away_is_told_when_to_come_back(app: AskPassword, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords_module, "WAITING", 0)
    for number in range(FREE):
        ask(app, f"ann:{number}")
    answer = ask(app, "ann:right")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "5")
    assert "Wait a few seconds" in answer.json()["detail"]


ROUTES = (
    *(STATUS, "/", "/docs", "/openapi.json", "/sdapi/v1/options", "/sdapi/v1/sd-models", "/tagbrush/v1/events"),
    *("/tagbrush/assets/css/tagbrush.css", "/config", "/gradio_api/file=/etc/passwd", "/nothing"),
)


def test_no_route_is_without_the_question(services: Services) -> None:
    with TestClient(create_app(services, logins=["ann:right"]), base_url=ADDRESS) as client:
        for path in ROUTES:
            for method in ("GET", "POST", "OPTIONS", "HEAD"):
                answer = client.request(method, path)
                assert answer.status_code == 401, path
                assert answer.headers["www-authenticate"].startswith("Basic")
