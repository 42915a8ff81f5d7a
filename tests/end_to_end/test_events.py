"""The event stream as a program that comes and goes sees it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .conftest import Program

Heard = dict[str, Any]
LONGEST = 180.0
"""Seconds that a test listens."""


@contextmanager
def listening(shared: Program, path: str = "/tagbrush/v1/events", last: int | None = None) -> Iterator[Iterator[Heard]]:
    """The events of one connection, each with its name, data, and id if it has one."""
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    with shared.http.stream("GET", path, headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        yield _events(response.iter_lines())


def _events(lines: Iterator[str]) -> Iterator[Heard]:
    """What the lines say; the server sends some also while nothing happens, for ever."""
    fields: dict[str, str] = {}
    deadline = time.monotonic() + LONGEST
    for line in lines:
        assert time.monotonic() < deadline, "what was waited for did not come"
        name, _, value = line.partition(":")
        if line and name:
            fields[name] = value.removeprefix(" ")
        elif not line and "event" in fields:
            yield {
                "event": fields["event"],
                "data": json.loads(fields["data"]),
                "id": int(fields["id"]) if "id" in fields else None,
            }
            fields = {}


def until_over(events: Iterator[Heard], job_id: str) -> list[Heard]:
    """What is heard up to the end of a job."""
    heard = []
    for event in events:
        heard.append(event)
        if event["event"] == "job" and event["data"]["id"] == job_id and event["data"]["finished"]:
            return heard
    raise AssertionError("the stream ended before the job")


def test_a_job_is_told_from_its_beginning_to_its_end(shared: Program) -> None:
    with listening(shared) as events:
        snapshot = next(events)
        assert snapshot["event"] == "snapshot"
        assert snapshot["data"]["worker"]["state"] in ("ready", "busy")
        job_id = shared.submit("a cat <lora:nowhere:1>", n_iter=2, steps=40)
        heard = until_over(events, job_id)
    states = [event["data"]["state"] for event in heard if event["event"] == "job" and event["data"]["id"] == job_id]
    assert states == ["queued", "running", "done"]
    assert [event["data"]["index"] for event in heard if event["event"] == "picture"] == [0, 1]
    assert ["nowhere" in event["data"]["text"] for event in heard if event["event"] == "notice"] == [True]
    progress = [event["data"]["progress"] for event in heard if event["event"] == "progress"]
    assert progress == sorted(progress)
    assert any(event["event"] == "preview" for event in heard)
    numbers = [event["id"] for event in heard if event["id"] is not None]
    assert numbers == sorted(set(numbers))


def test_who_comes_back_hears_what_was_missed(shared: Program) -> None:
    with listening(shared) as events:
        last = next(events)["id"]
    jobs = [shared.make("a cat"), shared.make("a dog", n_iter=2)]
    with listening(shared, last=last) as events:
        heard = until_over(events, jobs[-1]["id"])
    durable = [event for event in heard if event["id"] is not None]
    assert [event["id"] for event in durable] == list(range(last + 1, last + 1 + len(durable)))
    pictures = [(event["data"]["job_id"], event["data"]["index"]) for event in durable if event["event"] == "picture"]
    assert pictures == [(jobs[0]["id"], 0), (jobs[1]["id"], 0), (jobs[1]["id"], 1)]

    middle = durable[len(durable) // 2]["id"]
    with listening(shared, last=middle) as events:
        again = until_over(events, jobs[-1]["id"])
    assert [event for event in again if event["id"] is not None] == [event for event in durable if event["id"] > middle]


def test_a_number_from_another_life_does_no_harm(shared: Program) -> None:
    with listening(shared, last=10**12) as events:
        assert next(events)["event"] == "snapshot"
        assert until_over(events, shared.submit(steps=3))


def test_the_stream_of_one_job_ends_with_it(shared: Program) -> None:
    job_id = shared.submit(steps=10)
    with listening(shared, f"/tagbrush/v1/jobs/{job_id}/events") as events:
        heard = list(events)
    assert heard[0]["event"] == "job"
    assert heard[-1]["data"]["state"] == "done"
    with listening(shared, f"/tagbrush/v1/jobs/{job_id}/events") as events:
        assert [event["data"]["state"] for event in events] == ["done"]


def test_a_dropped_file_is_told_and_used_without_a_new_worker(shared: Program) -> None:
    worker = shared.worker()
    source = shared.data / "models" / "Lora" / "lin.safetensors"
    dropped = source.with_name("dropped.safetensors")
    with listening(shared) as events:
        dropped.write_bytes(source.read_bytes())
        try:
            assert next(event for event in events if event["event"] == "catalogue")["data"]["kind"] == "lora"
            names = [card["name"] for card in shared.http.get("/tagbrush/v1/catalogue/lora").json()["items"]]
            assert "dropped" in names
            assert shared.make("a cat <lora:dropped:1>")["notices"] == []
            assert shared.worker() == worker
        finally:
            dropped.unlink()
