"""What the client sends and hears, without a server."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections.abc import Callable, Iterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.client import (
    AsyncClient,
    Client,
    ClientError,
    Event,
    Job,
    JobFailed,
    LoginNeeded,
    NotTagbrush,
    Refused,
    TookTooLong,
    Unreachable,
    answers,
    calls,
)
from modules.client.errors import refusal
from modules.client.patience import FIRST_PAUSE
from modules.client.story import Story
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


def told(kind: str, data: dict[str, object], number: int | None = None) -> bytes:
    return f"event: {kind}\ndata: {json.dumps(data)}\n{f'id: {number}' if number else ''}\n\n".encode()


def test_every_picture_of_a_job_is_told_once_though_the_server_begins_with_the_job_as_it_is() -> None:
    story, pictures = Story("a"), [{"index": number} for number in range(3)]
    start = told("job", {"finished": None, "pictures": pictures[:2]}, 7)
    # Picture 1 was made while the stream began: it stands in the job, and is told after it.
    heard = [*story.hear(start), *story.hear(told("picture", {"job_id": "a", "index": 1}, 8))]
    assert [event.data.get("index") for event in heard] == [0, 1, None]
    story.broken()
    assert story.headers["Last-Event-ID"] == "8"
    # What happened after event 8 is told: the job as it is now has no id, and tells nothing new.
    assert [event.kind for event in story.hear(told("job", {"finished": None, "pictures": pictures}))] == ["job"]
    assert [event.id for event in story.hear(told("picture", {"job_id": "a", "index": 2}, 9))] == ["9"]
    story.broken()
    end = told("job", {"finished": 1.0, "pictures": [*pictures, {"index": 3}]}, 20_000)
    assert [event.data.get("index") for event in story.hear(end)] == [3, None]
    assert story.is_over


class Clock:
    """Time that passes when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_story_gives_up_when_the_server_is_away_too_long() -> None:
    clock, pauses = Clock(), []
    story = Story(None, patience=3, clock=clock)
    with pytest.raises(Unreachable, match="has not answered for 3 s"):
        for _ in range(20):
            pauses.append(story.broken())
            clock.now += pauses[-1]
    assert pauses == [FIRST_PAUSE, 0.5, 1, 1.25]
    assert Story(None, patience=3).broken() == FIRST_PAUSE


def test_the_time_that_connecting_took_counts() -> None:
    clock = Clock()
    story = Story(None, patience=60, clock=clock)
    clock.now = 30
    assert story.broken() == FIRST_PAUSE
    clock.now = 61
    with pytest.raises(Unreachable):
        story.broken()


def test_the_time_of_a_connection_that_was_heard_does_not_count() -> None:
    clock = Clock()
    story = Story(None, patience=60, clock=clock)
    assert list(story.hear(b": ping\n")) == []
    clock.now = 1000
    assert story.broken() == FIRST_PAUSE
    clock.now = 1059
    assert story.broken() == 2 * FIRST_PAUSE


RUNNING = Job.model_validate({**JOB, "state": "running"})


def test_a_job_is_waited_for_by_the_clock_however_soon_the_server_answers() -> None:
    clock = Clock()
    course = calls.waiting("a", timeout=40, patience=0, must_be_done=True, clock=clock)
    assert next(course).query == {"wait": 30}
    assert isinstance(course.send(RUNNING), calls.Pause)
    clock.now = 36
    assert course.send(None).query == {"wait": 4}
    clock.now = 40
    with pytest.raises(TookTooLong, match="running after 40 s") as told:
        course.send(RUNNING)
    assert told.value.job == RUNNING


def test_a_server_that_is_away_is_waited_for_no_longer_than_the_job_is() -> None:
    clock = Clock()
    course = calls.waiting("a", timeout=5, patience=60, must_be_done=True, clock=clock)
    next(course)
    clock.now = 6
    with pytest.raises(Unreachable):
        course.throw(Unreachable("It does not answer."))


def test_patience_is_counted_by_the_clock_from_when_an_answer_was_due() -> None:
    clock = Clock()
    course = calls.persisting(calls.get_job("a", wait=30), 60, clock)
    asked = next(course)
    clock.now = 35
    assert isinstance(course.throw(Unreachable("It does not answer.")), calls.Pause)
    assert course.send(None) == asked
    clock.now = 91
    with pytest.raises(Unreachable):
        course.throw(Unreachable("It does not answer."))


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_server_that_has_no_room_or_is_started_again_is_asked_again(status: int) -> None:
    course = calls.persisting(calls.get_status(), 60, Clock())
    asked = next(course)
    assert isinstance(course.throw(refusal(status, None, "")), calls.Pause)
    assert course.send(None) == asked


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_any_other_refusal_is_final(status: int) -> None:
    course = calls.persisting(calls.get_status(), 60, Clock())
    next(course)
    with pytest.raises(Refused):
        course.throw(refusal(status, None, ""))


def test_a_failed_job_is_told_with_what_it_made() -> None:
    failed = RUNNING.model_copy(update={"state": "failed", "error": "No memory."})
    with pytest.raises(JobFailed, match="No memory") as told:
        calls.done(failed)
    assert (told.value.job, told.value.job_id, told.value.state) == (failed, "a", "failed")


def test_a_long_wait_is_no_long_connecting() -> None:
    assert calls.arguments(calls.get_job("a", wait=30), 10.0)["timeout"] == httpx.Timeout(10, read=40)
    assert calls.listening(Story(None), 10.0)["timeout"] == httpx.Timeout(10, read=calls.SILENCE)


BLOCKED = {"error": "QueueBlocked", "detail": "x", "errors": "The disk is full."}


def client(answer: Callable[[httpx.Request], httpx.Response], **options: float) -> Client:
    return Client("http://tagbrush.test", transport=httpx.MockTransport(answer), **options)


def test_a_job_is_sent_again_under_its_key_until_the_server_answers() -> None:
    keys: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["Idempotency-Key"])
        if len(keys) == 1:
            raise httpx.ReadError("cut")
        return httpx.Response(201, json=JOB) if len(keys) == 3 else httpx.Response(503, json=BLOCKED)

    assert client(answer).submit("a cat").id == "a"
    assert len(keys) == 3 and len(set(keys)) == 1


def test_a_picture_to_start_from_is_sent_again_until_the_server_answers() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if len(asked) == 1:
            raise httpx.ConnectError("refused")
        stored = {"id": "f" * 64, "width": 1, "height": 1}
        return httpx.Response(201, json=stored if request.url.path.endswith("/inputs") else JOB)

    assert client(answer).submit("a lemon", init_images=b"one picture, not in a list").id == "a"
    assert [request.url.path.rpartition("/")[2] for request in asked] == ["inputs", "inputs", "jobs"]
    assert asked[0].content == asked[1].content == b"one picture, not in a list"
    assert json.loads(asked[2].content)["init_images"] == ["f" * 64]


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


def first_blocked(asked: list[httpx.Request]) -> httpx.MockTransport:
    """A server that has no room at the first call, and answers the second with a job or a stream."""

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if len(asked) == 1:
            return httpx.Response(503, json=BLOCKED)
        is_stream = request.url.path.endswith("/events")
        return httpx.Response(200, content=STREAM) if is_stream else httpx.Response(201, json=JOB)

    return httpx.MockTransport(answer)


def test_events_wait_for_a_server_that_has_no_room() -> None:
    asked: list[httpx.Request] = []
    with Client("http://tagbrush.test", transport=first_blocked(asked)) as hearer:
        assert list(hearer.events("a")) == HEARD
    assert len(asked) == 2


def test_events_end_with_the_servers_words_when_it_has_no_room_for_too_long() -> None:
    asked: list[httpx.Request] = []
    with (
        Client("http://tagbrush.test", transport=first_blocked(asked), patience=0) as hearer,
        pytest.raises(Refused, match="The disk is full"),
    ):
        list(hearer.events("a"))
    assert len(asked) == 1


def test_the_asynchronous_client_waits_for_a_server_that_has_no_room() -> None:
    async def story() -> None:
        async with AsyncClient("http://tagbrush.test", transport=first_blocked([])) as sender:
            assert (await sender.submit("a cat")).id == "a"
        async with AsyncClient("http://tagbrush.test", transport=first_blocked([])) as hearer:
            assert [event async for event in hearer.events("a")] == HEARD

    asyncio.run(story())


def test_another_program_at_the_address_is_told() -> None:
    page = httpx.Response(200, content=b"<html>Welcome</html>")
    for ask in (Client.status, Client.samplers):
        with pytest.raises(NotTagbrush, match=r"http://tagbrush\.test/tagbrush/v1/s\w+ gave is not"):
            ask(client(lambda request: page))


@pytest.mark.parametrize("url", ["http://localhost:seven", "ftp://localhost", "http://"])
def test_what_is_no_address_is_told(url: str) -> None:
    with pytest.raises(ClientError, match="is no address of a server"):
        Client(url)


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (401, {"error": "Unauthorized", "detail": "A login is needed."}, LoginNeeded, "A login is needed."),
        (503, BLOCKED, Refused, "The disk is full."),
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
