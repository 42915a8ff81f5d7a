"""What the client sends and hears, without a server."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.client import Client, Event, Job, LoginNeeded, Refused, Unreachable, answers, calls
from modules.client.story import FIRST_PAUSE, Story
from tests.api.test_openapi import DOCUMENT, OWN, operation

JOB = {"id": "a", "task": "txt2img", "state": "queued", "created": 0, "request": {}}
NOT_ASKED = {
    ("get", "/tagbrush/v1/inputs/{input_id}"),
    ("get", "/tagbrush/v1/jobs/{job_id}/preview"),
    ("get", "/tagbrush/v1/catalogue/{kind}/{entry_id}/preview"),
    ("post", "/tagbrush/v1/options"),
    ("post", "/tagbrush/v1/prompts/merge"),
}
"""Routes for pages: a client has the events' previews, its own inputs, and PATCH."""


def every_call() -> list[calls.Call]:
    picture = answers.Picture(
        index=0, seed=1, subseed=2, infotext="", width=1, height=1, kind="picture", url="/tagbrush/v1/jobs/a/pictures/0"
    )
    empty = dict.fromkeys(answers.Card.model_fields)
    card = answers.Card.model_construct(**{**empty, "id": "styles/a.safetensors", "kind": "lora"})
    return [
        calls.post_job({}, "key"),
        calls.get_job("a", 3),
        calls.list_jobs(1, 0),
        calls.get_queue(),
        *(calls.stop_job("a", how) for how in ("interrupt", "skip", "cancel")),
        calls.move_job("a", 1),
        calls.get_picture(picture),
        calls.get_picture(picture, 64),
        calls.upload(b""),
        calls.search("lora", "", {}),
        calls.get_details(card),
        calls.refresh("lora"),
        calls.get_status(),
        *(calls.get_list(name) for name in ("samplers", "schedules", "upscalers")),
        calls.get_parameters(),
        calls.get_settings(),
        calls.change_settings({}),
        calls.survey({}),
        calls.list_styles(),
        calls.save_style(answers.Style(name="a/b")),
        calls.remove_style("a/b"),
        calls.parse_text("", "txt2img"),
        calls.read_picture(b"", "txt2img"),
        *(calls.Call("GET", Story(job).path, lambda response: None) for job in (None, "a")),
    ]


def test_every_route_that_is_not_for_pages_is_called_by_the_client() -> None:
    called = set()
    for call in every_call():
        fits = [
            (method, path)
            for method, path in OWN
            if method == call.method.lower() and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), call.path)
        ]
        assert fits, call
        known = {parameter["name"] for parameter in operation(*fits[0]).get("parameters", ())}
        assert call.query.keys() <= known
        called.add(min(fits, key=lambda fit: fit[1].count("{")))
    assert set(OWN) - called == NOT_ASKED


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        ("/jobs/{job_id}", "200", answers.Job),
        ("/queue", "200", answers.Queue),
        ("/inputs", "201", answers.Stored),
        ("/catalogue/{kind}", "200", answers.Cards),
        ("/catalogue/{kind}/{entry_id}", "200", answers.Details),
        ("/prompts/survey", "200", answers.Surveys),
        ("/infotext/parse", "200", answers.Text),
        ("/status", "200", answers.Status),
    ],
)
def test_what_the_documentation_shows_is_understood(path: str, status: str, kind: type[answers.Answer]) -> None:
    methods = DOCUMENT["paths"][f"/tagbrush/v1{path}"]
    told = next(operation for operation in methods.values() if status in operation["responses"])
    shown = told["responses"][status]["content"]["application/json"]["example"]
    understood = kind.model_validate(shown).model_dump(mode="json")
    assert {name: shown[name] for name in understood if isinstance(shown[name], str | float)} == {
        name: value for name, value in understood.items() if isinstance(shown[name], str | float)
    }


STREAM = (
    ": ping\r\n\r\n"
    'id: 3\nevent: job\ndata: {"state": "running", "finished": null, "text": "a\u2028b \\u0085 é"}\n\n'
    'event: progress\r\ndata: {"step":\r\ndata: 4}\r\n\r\n'
    'retry: 1000\nid: 5\nevent: job\ndata: {"finished": 2.5}\n\n'
).encode()
HEARD = [
    Event("job", {"state": "running", "finished": None, "text": "a\u2028b \u0085 é"}, "3"),
    Event("progress", {"step": 4}),
    Event("job", {"finished": 2.5}, "5"),
]


@given(st.lists(st.integers(0, len(STREAM)), max_size=8).map(sorted))
def test_events_are_heard_alike_wherever_the_network_cuts_them(cuts: list[int]) -> None:
    story, edges = Story("a"), [0, *cuts, len(STREAM)]
    heard = [event for start, end in itertools.pairwise(edges) for event in story.hear(STREAM[start:end])]
    assert heard == HEARD
    assert story.is_over and story.last_id == "5"


def test_a_broken_story_goes_on_after_the_last_id_and_forgets_the_half_event() -> None:
    story = Story("a")
    assert list(story.hear(STREAM[:-10])) == HEARD[:2]
    assert story.broken() == FIRST_PAUSE
    assert story.headers["Last-Event-ID"] == "3"
    assert list(story.hear(b'data: {"a": 1}\n\n')) == [Event("message", {"a": 1})]


def test_a_story_gives_up_when_the_server_is_away_too_long() -> None:
    story = Story(None, patience=3)
    with pytest.raises(Unreachable, match="has not answered"):
        sum(story.broken() for _ in range(20))
    assert Story(None, patience=3).broken() == FIRST_PAUSE


def client(answer: Callable[[httpx.Request], httpx.Response], **options: float) -> Client:
    return Client("http://tagbrush.test", transport=httpx.MockTransport(answer), **options)


def test_a_job_is_sent_again_under_its_key_until_the_server_answers() -> None:
    keys: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["Idempotency-Key"])
        if len(keys) < 3:
            raise httpx.ReadError("cut")
        return httpx.Response(201, json=JOB)

    assert client(answer).submit("a cat").id == "a"
    assert len(keys) == 3 and len(set(keys)) == 1


def test_events_go_on_where_a_connection_broke() -> None:
    asked: list[str | None] = []

    class Cut(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield STREAM[:-20]
            raise httpx.RemoteProtocolError("peer closed connection")

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("last-event-id"))
        if len(asked) == 1:
            return httpx.Response(200, stream=Cut())
        if len(asked) == 2:
            raise httpx.ConnectError("refused")
        return httpx.Response(200, content=STREAM[STREAM.index(b"retry") :])

    assert list(client(answer).events("a")) == HEARD
    assert asked == [None, "3", "3"]


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (401, {"error": "Unauthorized", "detail": "A login is needed."}, LoginNeeded, "A login is needed."),
        (503, {"error": "QueueBlocked", "detail": "x", "errors": "The disk is full."}, Refused, "The disk is full."),
        (502, None, Refused, "The server answered 502 Bad Gateway."),
    ],
)
def test_an_error_is_told_by_its_status_and_words(
    status: int, body: dict[str, str] | None, kind: type[Refused], words: str
) -> None:
    content = b"<html>" if body is None else json.dumps(body).encode()
    with pytest.raises(kind, match=words) as told:
        client(lambda request: httpx.Response(status, content=content)).status()
    assert told.value.status == status
    assert type(told.value) is kind


def test_a_login_is_sent_and_a_long_wait_is_many_short_ones() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={**JOB, "state": "done" if len(asked) == 3 else "running"})

    with Client("http://tagbrush.test", auth=("ann", "secret"), transport=httpx.MockTransport(answer)) as sender:
        assert sender.wait("a", within=100).state == "done"
    assert {request.headers["authorization"] for request in asked} == {"Basic YW5uOnNlY3JldA=="}
    assert [request.url.params["wait"] for request in asked] == ["30.0"] * 3
    assert isinstance(Job.model_validate(JOB), Job)
