"""The event stream: what happens, as it happens, and what a listener missed (server-sent events)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Depends, Header
from starlette.responses import StreamingResponse
from starlette.types import Send

from modules.jobs import Event, EventKind, Job, Listener

from .errors import MISSING
from .examples import SAID
from .services import Bound, Services

router = APIRouter(prefix="/tagbrush/v1", tags=["events"])

LastEventId = Annotated[
    str | None, Header(description="The id of the last event seen; the durable ones after it are sent again.")
]
STREAM = """
Each event's `data` is a JSON object:

| event | data |
| --- | --- |
| `snapshot` | `worker`, `workers`, `jobs` (those that are not over), `queue` (ids in order): comes first |
| `job` | the whole job, at each change of its state |
| `picture` | `job_id` and the picture, as it stands in the job |
| `notice` | `job_id`, `text` |
| `progress` | `job_id`, `batch`, `batches`, `step`, `steps`, `images_done`, `images`, `progress` (0 to 1), `eta` in s |
| `preview` | `job_id`, `image` (a data URI) |
| `queue` | `ids` of the waiting jobs, in order |
| `worker` | `state`, `device`, `message` and `job_id` of all workers in one, and of each in `workers` |
| `catalogue` | `kind` of the files that changed; empty for all |

The first four have an id and are durable: none is lost if the id of the last one seen is sent as `Last-Event-ID` when
connecting again, as browsers do by themselves. They are kept for a while, the last 10,000 at least; to whoever comes
back from before that, the stream begins as to somebody new: with a `snapshot` or `job` that has an id. Of the others
only the latest of each kind is sent to a listener that is slow.
"""
SENT: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The stream.",
        "content": {
            "text/event-stream": {
                "itemSchema": {
                    "type": "object",
                    "required": ["event", "data"],
                    "properties": {
                        "event": {"type": "string", "enum": list(get_args(EventKind))},
                        "data": {"type": "string", "contentMediaType": "application/json"},
                        "id": {"type": "string", "description": "Of the durable events alone."},
                        "retry": {"type": "integer", "description": "Milliseconds before connecting again."},
                    },
                },
                "example": "".join(
                    (f"id: {event.id}\n" if event.id else "")
                    + f"event: {event.kind}\ndata: {json.dumps(event.data)}\n\n"
                    for event in SAID
                ),
            }
        },
    }
}


SILENCE = 15.0
"""Seconds after which something is sent, so that proxies do not take the connection for dead."""

KEEP_ALIVE = b": still here\n\n"
LONGEST_NUMBER = 18
"""Digits of an id: more are nobody's, and the queue file cannot count so far."""

RETRY = 1000
"""Milliseconds after which a browser connects again."""


class EventStream(StreamingResponse):
    """Server-sent events. `fastapi.sse` hands each on through two queues, and logs an error for clients that leave."""

    media_type = "text/event-stream"

    def __init__(self, parts: AsyncGenerator[bytes, None], status_code: int = 200) -> None:
        # The second header is for nginx, which would hold events back.
        super().__init__(parts, status_code, headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        self._parts = parts

    async def stream_response(self, send: Send) -> None:
        async with aclosing(self._parts):
            await super().stream_response(send)


def _known(services: Bound, job_id: str) -> Job:
    """The job of the path; looked up before the stream begins, so that an unknown one is answered with 404."""
    return services.jobs.get(job_id)


@router.get(
    "/events", response_class=EventStream, responses=SENT, summary="Everything that happens", description=STREAM
)
async def events(services: Bound, last_event_id: LastEventId = None) -> EventStream:
    return EventStream(_stream(services, _number(last_event_id), None))


@router.get(
    "/jobs/{job_id}/events",
    response_class=EventStream,
    responses={**SENT, **MISSING},
    summary="What happens to one job",
    description="Begins with the job as it is; ends after the event that tells of its end. Of pictures that are made "
    "already there are no `picture` events then, unless a `Last-Event-ID` asks for them: they stand in the `pictures` "
    "of that first `job`; one that is made at that very moment may be told in both ways.",
)
async def job_events(
    services: Bound, job: Annotated[Job, Depends(_known)], last_event_id: LastEventId = None
) -> EventStream:
    return EventStream(_stream(services, _number(last_event_id), job.id))


async def _stream(services: Services, after: int | None, job_id: str | None) -> AsyncGenerator[bytes, None]:
    """The frames of one connection, which begins with the state of things: a snapshot, or the job.

    The newest event's id is read before that state, so nothing falls between the two. A reconnecting listener gets
    the state without an id: what it missed is still to come, and must be asked for again if the connection breaks
    in between. One that missed what is forgotten by now begins anew; where it happens to one that is connected, because
    it took nothing for so long, the stream ends, and it comes back. The end of a job tells of all its pictures anyway.
    """
    jobs = services.jobs
    newest = jobs.last_event
    if after is not None and not await asyncio.to_thread(jobs.remembers, after):
        after = None
    is_new = after is None
    told = newest if after is None else after
    with jobs.listen(told, job_id) as listener:
        if job_id is None:
            snapshot = await asyncio.to_thread(jobs.snapshot)
            yield _framed(replace(snapshot, id=newest if is_new else None))
        else:
            job = await asyncio.to_thread(jobs.get, job_id)
            if job.state.is_final and not is_new:
                for event in await _missed(listener):
                    yield _framed(event)
            yield _framed(Event(kind="job", data=job.wire(), id=newest if is_new else None, job_id=job_id))
            if job.state.is_final:
                return
        async for heard in _heard(listener, services.closing, SILENCE):
            numbers = [event.id for event in heard if event.id is not None]
            if job_id is None and numbers and numbers[0] > told + 1:
                return
            told = max(numbers, default=told)
            yield b"".join(map(_framed, heard)) or KEEP_ALIVE
            if job_id is not None and any(map(_is_end, heard)):
                return


async def _missed(listener: Listener) -> list[Event]:
    """What happened to a job that is over, after what its listener has seen and before its end."""
    missed: list[Event] = []
    while heard := await listener.get(timeout=0):
        missed += [event for event in heard if not event.data.get("finished")]
    return missed


async def _heard(
    listener: Listener, closing: asyncio.Event, silence: float | None = None
) -> AsyncIterator[tuple[Event, ...]]:
    """What the listener hears, as it comes, until the server goes down; nothing after `silence` seconds of it."""
    end = asyncio.ensure_future(closing.wait())
    heard: asyncio.Future[tuple[Event, ...]] | None = None
    try:
        while not closing.is_set():
            heard = asyncio.ensure_future(listener.get(silence))
            await asyncio.wait({end, heard}, return_when=asyncio.FIRST_COMPLETED)
            if heard.done():
                yield heard.result()
    finally:
        end.cancel()
        if heard is not None:
            heard.cancel()


async def until_closing(listener: Listener, closing: asyncio.Event) -> AsyncIterator[Event]:
    """The events that the listener hears, until the server goes down."""
    async for heard in _heard(listener, closing):
        for event in heard:
            yield event


async def finished(services: Services, job_id: str, timeout: float | None = None) -> Job:
    """The job once it is over; as it is when `timeout` seconds pass or the server goes down. Raises UnknownJob."""
    with services.jobs.listen(job_id=job_id) as listener:
        job = await asyncio.to_thread(services.jobs.get, job_id)
        if job.state.is_final:
            return job
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                async for event in until_closing(listener, services.closing):
                    if _is_end(event):
                        break
    return await asyncio.to_thread(services.jobs.get, job_id)


def _framed(event: Event) -> bytes:
    """The event as it goes over the wire; JSON has no line breaks of its own."""
    number = "" if event.id is None else f"id: {event.id}\n"
    return f"event: {event.kind}\ndata: {event.text}\n{number}retry: {RETRY}\n\n".encode()


def _is_end(event: Event) -> bool:
    return event.kind == "job" and bool(event.data.get("finished"))


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and len(text) <= LONGEST_NUMBER else None
