"""The event stream, over a real connection."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import struct
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest

from modules.api import Services
from modules.api.events import _stream
from modules.app.server import Server
from modules.jobs import Event, Jobs


@dataclass(frozen=True)
class Heard:
    kind: str
    data: Any
    id: int | None


@pytest.fixture
def http(port: int) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        yield client


@contextmanager
def listening(http: httpx.Client, path: str = "/tagbrush/v1/events", **headers: str) -> Iterator[Iterator[Heard]]:
    with http.stream("GET", path, headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield _heard(answer.iter_lines())


def _heard(lines: Iterator[str]) -> Iterator[Heard]:
    fields: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition(": ")
        if line:
            fields[key] = value
        elif "event" in fields:
            yield Heard(fields["event"], json.loads(fields["data"]), int(fields["id"]) if "id" in fields else None)
            fields = {}


def submit(http: httpx.Client, prompt: str = "a cat") -> str:
    return http.post("/tagbrush/v1/jobs", json={"task": "txt2img", "prompt": prompt}).json()["id"]


def is_end(event: Heard) -> bool:
    return event.kind == "job" and event.data["finished"] is not None


def until_end(events: Iterator[Heard]) -> list[Heard]:
    heard = []
    for event in events:
        heard.append(event)
        if is_end(event):
            return heard
    raise AssertionError(f"the stream ended: {heard}")


def test_a_stream_begins_with_how_things_stand(http: httpx.Client) -> None:
    job = submit(http, "wait")
    with listening(http) as events:
        first = next(events)
    assert first.kind == "snapshot"
    assert first.data["worker"]["state"] == "ready"
    assert [item["id"] for item in first.data["jobs"]] == [job]


def test_a_job_is_told_from_its_submission_to_its_end(http: httpx.Client) -> None:
    with listening(http) as events:
        next(events)
        job = submit(http)
        heard = [event for event in until_end(events) if event.kind in ("job", "picture")]
    assert [event.data["state"] for event in heard if event.kind == "job"] == ["queued", "running", "done"]
    assert all(event.data.get("job_id", event.data.get("id")) == job for event in heard)
    assert [event.id for event in heard] == sorted(event.id for event in heard if event.id is not None)


def test_a_listener_that_comes_back_gets_what_it_missed(http: httpx.Client) -> None:
    with listening(http) as events:
        seen = next(events).id
    with listening(http, f"/tagbrush/v1/jobs/{submit(http)}/events") as events:
        until_end(events)
    with listening(http, **{"Last-Event-ID": str(seen)}) as events:
        snapshot, *missed = until_end(events)
    assert (snapshot.kind, snapshot.id) == ("snapshot", None)
    assert [event.kind for event in missed] == ["job", "job", "picture", "job"]
    assert [event.id for event in missed] == list(range(seen + 1, seen + 5))


@pytest.mark.parametrize("last", ["x", "-1", "99999999", "1e9", ""])
def test_a_foreign_event_id_is_no_hindrance(http: httpx.Client, last: str) -> None:
    with listening(http, **{"Last-Event-ID": last}) as events:
        assert next(events).kind == "snapshot"


def test_the_stream_of_one_job_ends_with_it_and_tells_of_no_other(http: httpx.Client) -> None:
    job, other = submit(http, "wait"), submit(http)
    with listening(http, f"/tagbrush/v1/jobs/{job}/events") as events:
        assert next(events).data["state"] in ("queued", "running")
        http.post(f"/tagbrush/v1/jobs/{job}/interrupt")
        heard = list(events)
    assert is_end(heard[-1])
    assert other not in {event.data.get("job_id", event.data.get("id")) for event in heard}


def test_the_stream_of_a_job_that_is_over_tells_its_end_alone(http: httpx.Client) -> None:
    job = submit(http)
    with listening(http, f"/tagbrush/v1/jobs/{job}/events") as events:
        until_end(events)
    with listening(http, f"/tagbrush/v1/jobs/{job}/events") as events:
        assert [event.data["state"] for event in events] == ["done"]


def test_a_job_that_ends_while_its_stream_opens_is_told_with_its_pictures_and_nothing_else(
    http: httpx.Client, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(http, "a cat")
    services.jobs.wait(job, 30)
    # As it was when the stream was asked for: everything since then happened before it could begin.
    monkeypatch.setattr(Jobs, "last_event", property(lambda self: 1))
    with listening(http, f"/tagbrush/v1/jobs/{job}/events") as events:
        (only,) = events
    assert (only.kind, only.data["state"], len(only.data["pictures"])) == ("job", "done", 1)


def test_what_follows_the_beginning_is_told_though_the_connection_broke_right_after_it(
    http: httpx.Client, services: Services
) -> None:
    job = submit(http, "wait")
    with listening(http, f"/tagbrush/v1/jobs/{job}/events") as events:
        first = next(events)
    assert (first.kind, first.data["pictures"]) == ("job", [])
    http.post(f"/tagbrush/v1/jobs/{job}/skip")
    services.jobs.wait(job, 30)
    with listening(http, f"/tagbrush/v1/jobs/{job}/events", **{"Last-Event-ID": str(first.id)}) as events:
        *missed, last = events
    assert [event.data["index"] for event in missed if event.kind == "picture"] == [0]
    assert is_end(last)


def test_who_comes_back_from_before_what_is_remembered_begins_anew(
    http: httpx.Client, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, last = submit(http), submit(http)
    for job in (first, last):
        services.jobs.wait(job, 30)
    monkeypatch.setattr("modules.jobs.store.KEPT_EVENTS", 3)
    while services.jobs._store.prune(unused_inputs_before=0):
        pass
    newest = services.jobs.last_event
    with listening(http, **{"Last-Event-ID": str(newest - 4)}) as events:
        assert (heard := next(events)).kind == "snapshot" and heard.id == newest
    with listening(http, f"/tagbrush/v1/jobs/{first}/events", **{"Last-Event-ID": "1"}) as events:
        (only,) = events
    assert (only.id, len(only.data["pictures"])) == (newest, 1)
    with listening(http, **{"Last-Event-ID": str(newest - 3)}) as events:
        snapshot, *missed = (next(events) for _ in range(4))
    assert snapshot.id is None
    assert [event.id for event in missed] == [newest - 2, newest - 1, newest]


@pytest.mark.parametrize(("kept", "kinds"), [(4, ["snapshot", "job", "job", "picture", "job"]), (3, ["snapshot"])])
def test_the_stream_ends_for_who_took_nothing_until_what_comes_next_was_forgotten(
    http: httpx.Client, services: Services, monkeypatch: pytest.MonkeyPatch, kept: int, kinds: list[str]
) -> None:
    monkeypatch.setattr("modules.jobs.store.KEPT_EVENTS", kept)
    monkeypatch.setattr(services.jobs._bus, "_recent", deque(maxlen=1))

    def make_one() -> None:
        services.jobs.wait(submit(http), 60)
        while services.jobs._store.prune(unused_inputs_before=0):
            pass

    async def told() -> bytes:
        services_here = replace(services, closing=asyncio.Event())
        async with aclosing(_stream(services_here, None, None)) as stream, asyncio.timeout(60):
            frames = await anext(stream)
            await asyncio.to_thread(make_one)
            async for frame in stream:
                frames += frame
                if b'"done"' in frame:
                    break
        return frames

    heard = [event.kind for event in _heard(iter(asyncio.run(told()).decode().splitlines()))]
    assert [kind for kind in heard if kind in ("snapshot", "job", "picture")] == kinds


def test_a_change_of_the_catalogue_is_told(http: httpx.Client, services: Services) -> None:
    with listening(http) as events:
        next(events)
        services.jobs.files_changed("lora")
        assert next(event for event in events if event.kind == "catalogue").data == {"kind": "lora"}


def test_listeners_that_leave_are_forgotten(http: httpx.Client, services: Services) -> None:
    for _ in range(5):
        with listening(http) as events:
            next(events)
    deadline = time.monotonic() + 60
    while services.jobs._bus._listeners and time.monotonic() < deadline:
        services.jobs._bus.publish(Event("worker", {}))
        time.sleep(0.05)
    assert not services.jobs._bus._listeners


def test_streams_and_waiting_clients_end_when_the_server_does(http: httpx.Client, server: Server) -> None:
    server.config.timeout_graceful_shutdown = 60  # what has not ended by itself then would be cut off
    begun = time.monotonic()
    with ThreadPoolExecutor() as pool, listening(http) as events:
        next(events)
        waiting = pool.submit(http.post, "/sdapi/v1/txt2img", json={"prompt": "wait"})
        next(event for event in events if event.kind == "progress")
        server.should_exit = True
        assert all(event.kind in ("job", "queue", "progress") for event in events)
        assert "waits in its queue" in waiting.result().json()["detail"]
    assert time.monotonic() - begun < 30


def test_a_client_that_leaves_in_mid_stream_is_no_error(port: int, caplog: pytest.LogCaptureFixture) -> None:
    request = f"GET /tagbrush/v1/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    url = f"http://127.0.0.1:{port}"
    with httpx.Client(base_url=url, timeout=60) as http:
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", port)) as line:
                line.sendall(request)
                assert b"text/event-stream" in line.recv(1000)
                # What is not read when it closes resets the connection, in the middle of what the server sends.
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            submit(http)
        with listening(http) as events:
            assert next(events).kind == "snapshot"
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_a_quiet_stream_shows_that_it_is_alive(http: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modules.api.events.SILENCE", 0.05)
    with http.stream("GET", "/tagbrush/v1/events") as answer:
        lines = answer.iter_lines()
        assert next(line for line in lines if line.startswith(":"))
