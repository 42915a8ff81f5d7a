"""Every call of the API as a value, and every course of several as a generator of them; nothing here waits or sends.

A client sends what a course yields and puts the answer back in: the blocking one and the asynchronous one need no more
than that.
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, TypeAdapter

from modules.params import Img2ImgRequest, Txt2ImgRequest

from .answers import Answer, Card, Cards, Details, Job, Picture, Queue, Status, Stored, Style, Surveys, Text
from .errors import ClientError, JobFailed, NotTagbrush, Refused, TookTooLong, Unreachable, is_away, refusal
from .patience import FIRST_PAUSE, Clock, Patience
from .pictures import PictureSource, file_of
from .story import Story

ROOT = "/tagbrush/v1"
LOOK = 30.0
"""Seconds for which one call waits for the end of a job."""

SILENCE = 60.0
"""Seconds without a word after which a stream of events is broken; the server says something more often."""

T = TypeVar("T")
A = TypeVar("A", bound=Answer)


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request, and how its answer is read."""

    method: str
    path: str
    read: Callable[[httpx.Response], T]
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    patience: float = 0.0
    """Seconds more than usual that the answer may take."""


@dataclass(frozen=True)
class Pause:
    """Seconds to let pass."""

    seconds: float


Course = Generator[Call[Any] | Pause, Any, T]
"""What a client does call by call; it ends with a value."""


def answer(call: Call[T], response: httpx.Response) -> T:
    """What the answer says. Raises Refused with the server's words, NotTagbrush for an answer that makes no sense."""
    check(response)
    try:
        return call.read(response)
    except ValueError as error:
        raise NotTagbrush(
            f"What {response.url} gave is not what Tagbrush gives there. Is another program at that address, or "
            "another version of Tagbrush?"
        ) from error


def check(response: httpx.Response) -> None:
    """Nothing, if the answer is none that tells of an error. Raises Refused."""
    if response.is_success:
        return
    try:
        body = response.json()
    except ValueError:
        body = None
    raise refusal(response.status_code, body, response.reason_phrase)


def _as(kind: type[A]) -> Callable[[httpx.Response], A]:
    return lambda response: kind.model_validate_json(response.content)


def _list_of(kind: type[A]) -> Callable[[httpx.Response], list[A]]:
    return lambda response: TypeAdapter(list[kind]).validate_json(response.content)  # type: ignore[valid-type]


def _json(response: httpx.Response) -> Any:
    return response.json()


def _bytes(response: httpx.Response) -> bytes:
    return response.content


def _nothing(response: httpx.Response) -> None:
    return None


# Jobs


def post_job(fields: Mapping[str, Any], key: str) -> Call[Job]:
    return Call("POST", f"{ROOT}/jobs", _as(Job), body=fields, headers={"Idempotency-Key": key})


def get_job(job_id: str, wait: float = 0.0) -> Call[Job]:
    return Call("GET", f"{ROOT}/jobs/{quote(job_id)}", _as(Job), query={"wait": wait} if wait else {}, patience=wait)


def list_jobs(limit: int, offset: int) -> Call[list[Job]]:
    return Call("GET", f"{ROOT}/jobs", _list_of(Job), query={"limit": limit, "offset": offset})


def get_queue() -> Call[Queue]:
    return Call("GET", f"{ROOT}/queue", _as(Queue))


def stop_job(job_id: str, how: str) -> Call[Job]:
    """`how` is "interrupt", "skip" or "cancel"."""
    path = f"{ROOT}/jobs/{quote(job_id)}"
    return Call("DELETE", path, _as(Job)) if how == "cancel" else Call("POST", f"{path}/{how}", _as(Job))


def move_job(job_id: str, position: int) -> Call[Job]:
    return Call("PUT", f"{ROOT}/jobs/{quote(job_id)}/position", _as(Job), body={"position": position})


def get_picture(picture: Picture, size: int | None = None) -> Call[bytes]:
    if size is None:
        return Call("GET", picture.url, _bytes)
    return Call("GET", f"{picture.url}/thumbnail", _bytes, query={"size": size})


def upload(data: bytes) -> Call[Stored]:
    headers = {"Content-Type": "application/octet-stream"}
    return Call("POST", f"{ROOT}/inputs", _as(Stored), content=data, headers=headers)


# What there is


def search(kind: str, words: str, options: Mapping[str, Any]) -> Call[Cards]:
    return Call("GET", f"{ROOT}/catalogue/{kind}", _as(Cards), query={"search": words, **options})


def get_details(card: Card) -> Call[Details]:
    return Call("GET", f"{ROOT}/catalogue/{card.kind}/{quote(card.id, safe='')}", _as(Details))


def refresh(kind: str | None) -> Call[None]:
    return Call("POST", f"{ROOT}/catalogue/refresh", _nothing, query={"kind": kind} if kind else {})


def get_status() -> Call[Status]:
    return Call("GET", f"{ROOT}/status", _as(Status))


def get_list(name: str) -> Call[list[dict[str, Any]]]:
    """`name` is "samplers", "schedules" or "upscalers"."""
    return Call("GET", f"{ROOT}/{name}", _json)


def get_parameters() -> Call[dict[str, Any]]:
    return Call("GET", f"{ROOT}/parameters", _json)


def get_settings() -> Call[dict[str, Any]]:
    return Call("GET", f"{ROOT}/options", _json)


def change_settings(changes: Mapping[str, Any]) -> Call[dict[str, Any]]:
    return Call("PATCH", f"{ROOT}/options", _json, body=changes)


# Prompts and texts


def survey(payload: Mapping[str, Any]) -> Call[Surveys]:
    return Call("POST", f"{ROOT}/prompts/survey", _as(Surveys), body=payload)


def list_styles() -> Call[list[Style]]:
    return Call("GET", f"{ROOT}/styles", _list_of(Style))


def save_style(style: Style) -> Call[Style]:
    return Call("POST", f"{ROOT}/styles", _as(Style), body=style.model_dump())


def remove_style(name: str) -> Call[None]:
    return Call("DELETE", f"{ROOT}/styles/{quote(name, safe='')}", _nothing)


def parse_text(text: str, task: str) -> Call[Text]:
    return Call("POST", f"{ROOT}/infotext/parse", _as(Text), body={"text": text, "task": task})


def read_picture(data: bytes, task: str) -> Call[Text]:
    headers = {"Content-Type": "application/octet-stream"}
    return Call("POST", f"{ROOT}/infotext/read", _as(Text), query={"task": task}, content=data, headers=headers)


# Courses


def submitting(
    request: str | Txt2ImgRequest | Img2ImgRequest,
    fields: Mapping[str, Any],
    *,
    key: str | None = None,
    patience: float = 0.0,
) -> Course[Job]:
    """Upload the pictures that the request names by file, and put it into the queue: once, however often it is sent."""
    body = dict(_fields(request, fields))
    for name in ("mask", "firstpass_image"):
        if body.get(name):
            body[name] = yield from _named(body[name], patience)
    if body.get("init_images"):
        given, ids = body["init_images"], []
        for picture in [given] if isinstance(given, PictureSource) else given:
            ids.append((yield from _named(picture, patience)))
        body["init_images"] = ids
    return (yield from persisting(post_job(body, key or uuid.uuid4().hex), patience))


def waiting(
    job: Job | str, *, timeout: float | None, patience: float, must_be_done: bool, clock: Clock = time.monotonic
) -> Course[Job]:
    """The job once it is over. Raises TookTooLong, and JobFailed for one that is not done if it must be."""
    job_id, end = name_of(job), math.inf if timeout is None else clock() + timeout
    while True:
        asked = clock()
        look = max(0.0, min(LOOK, end - asked))
        found: Job = yield from persisting(get_job(job_id, look), patience, clock, end=end)
        if found.is_over:
            return done(found) if must_be_done else found
        now = clock()
        if now >= end:
            raise TookTooLong(found, f"The job is {found.state} after {timeout:g} s, and goes on. Wait longer for it.")
        if now < asked + look:  # a server that is being stopped does not wait
            yield Pause(min(FIRST_PAUSE, end - now))


def done(job: Job) -> Job:
    """The job, if it is done. Raises JobFailed with its reason."""
    if job.state == "done":
        return job
    raise JobFailed(job, job.error or f"The job was {job.state}.")


def name_of(job: Job | str) -> str:
    return job if isinstance(job, str) else job.id


def _fields(request: str | BaseModel, fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """The request as it is sent: of a prompt, or of a request with changes."""
    if isinstance(request, BaseModel):
        return {**request.model_dump(mode="json"), **fields}
    return {"task": "img2img" if fields.get("init_images") else "txt2img", "prompt": request, **fields}


def _named(picture: PictureSource, patience: float) -> Course[str]:
    """The id of a picture: of one stored already, or uploaded now; ids are hashes, so that twice is once."""
    if isinstance(picture, str) and len(picture) == 64 and all(sign in "0123456789abcdef" for sign in picture):
        return picture
    stored: Stored = yield from persisting(upload(file_of(picture)), patience)
    return stored.id


def persisting(call: Call[T], patience: float, clock: Clock = time.monotonic, *, end: float = math.inf) -> Course[T]:
    """The answer, asked for again while the server is away, for so many seconds, or until the clock shows `end`.

    Raises Unreachable or Refused then.
    """
    waits = Patience(patience, clock, end=end)
    while True:
        asked = clock()
        try:
            return (yield call)
        except (Unreachable, Refused) as error:
            pause = waits.pause(asked + call.patience) if is_away(error) else None
            if pause is None:
                raise
        yield Pause(pause)


def options(url: str, auth: tuple[str, str] | None, timeout: float) -> dict[str, Any]:
    """What an HTTP client is made with.

    Proxies of the environment are not for this machine's own addresses, and no certificate names those. Raises
    ClientError for what is no address.
    """
    try:
        parsed = httpx.URL(url if "://" in url else f"http://{url}")
    except httpx.InvalidURL as error:
        raise _no_address(url, str(error)) from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise _no_address(url, "it needs http:// or https:// and a name")
    is_here = parsed.host in ("localhost", "127.0.0.1", "::1")
    return {
        "base_url": parsed,
        "auth": auth,
        "timeout": timeout,
        "trust_env": not is_here,
        "verify": not is_here,
        "follow_redirects": True,
    }


def _no_address(url: str, reason: str) -> ClientError:
    return ClientError(f'"{url}" is no address of a server: {reason}. Give one such as http://127.0.0.1:7860.')


def arguments(call: Call[Any], timeout: float) -> dict[str, Any]:
    """What the call is as arguments of an HTTP client's `request`."""
    return {
        "method": call.method,
        "url": call.path,
        "params": dict(call.query),
        "headers": dict(call.headers),
        "timeout": httpx.Timeout(timeout, read=timeout + call.patience),
        **({} if call.body is None else {"json": call.body}),
        **({} if call.content is None else {"content": call.content}),
    }


def listening(story: Story, timeout: float) -> dict[str, Any]:
    """The next connection of the story as arguments of an HTTP client's `stream`."""
    wait = httpx.Timeout(timeout, read=SILENCE)
    return {"method": "GET", "url": story.path, "headers": story.headers, "timeout": wait}


def unreachable(url: object, error: Exception) -> Unreachable:
    """The error of a call that no answer came to."""
    return Unreachable(f"{url} does not answer: {error or type(error).__name__}. Is Tagbrush running there?")
