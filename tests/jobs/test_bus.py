"""Every listener hears what lasts, in order; of what passes it hears the latest."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable

import pytest

from modules.jobs import Event, EventBus, Listener
from modules.jobs.bus import PAUSE, REMEMBERED


def durable(number: int, job_id: str = "a", kind: str = "notice", **data: object) -> Event:
    return Event(kind=kind, data=data, id=number, job_id=job_id)  # type: ignore[arg-type]


def passing(kind: str, job_id: str | None = "a", /, **data: object) -> Event:
    return Event(kind=kind, data=data, job_id=job_id)  # type: ignore[arg-type]


class Archive:
    """A bus with everything durable kept beside it, as the store does."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.recalled = 0
        self.bus = EventBus(self.recall)

    def recall(self, event_id: int, *, job_id: str | None = None) -> tuple[Event, ...]:
        self.recalled += 1
        wanted = (event for event in self.events if job_id is None or event.job_id == job_id)
        return tuple(event for event in wanted if (event.id or 0) > event_id)[:500]

    def publish(self, *events: Event) -> None:
        for event in events:
            if event.id is not None:
                self.events.append(event)
            self.bus.publish(event)


async def drain(listener: Listener) -> list[Event]:
    heard: list[Event] = []
    while (events := await listener.get(timeout=0.05)) or listener._awake.is_set():
        heard.extend(events)
    return heard


def test_a_listener_hears_what_follows_in_order() -> None:
    async def story() -> None:
        archive = Archive()
        archive.publish(durable(1))
        with archive.bus.listen() as listener:
            archive.publish(durable(2), durable(3))
            assert [event.id for event in await drain(listener)] == [2, 3]

    asyncio.run(story())


@pytest.mark.parametrize("count", [3, 5000])
def test_a_reconnecting_listener_misses_nothing(count: int) -> None:
    async def story() -> None:
        archive = Archive()
        archive.publish(*(durable(number) for number in range(1, count + 1)))
        with archive.bus.listen(after=1) as listener:
            assert [event.id for event in await drain(listener)] == list(range(2, count + 1))
        assert bool(archive.recalled) == (count > REMEMBERED)

    asyncio.run(story())


def test_a_slow_listener_loses_previews_only() -> None:
    async def story() -> None:
        archive = Archive()
        with archive.bus.listen() as listener:
            for number in range(1, 3001):
                archive.publish(passing("preview", image=number), durable(number, kind="picture"))
            heard = await drain(listener)
        assert [event.id for event in heard if event.kind == "picture"] == list(range(1, 3001))
        assert [event.data["image"] for event in heard if event.kind == "preview"] == [3000]

    asyncio.run(story())


def test_progress_of_a_job_that_is_over_is_not_heard_after_its_end() -> None:
    async def story() -> None:
        archive = Archive()
        with archive.bus.listen() as listener:
            archive.publish(passing("progress"), passing("progress", "b"), durable(1, kind="job", finished=1.0))
            assert [(event.kind, event.job_id) for event in await drain(listener)] == [("job", "a"), ("progress", "b")]

    asyncio.run(story())


def test_who_takes_nothing_any_more_keeps_nothing_of_the_jobs_that_are_over() -> None:
    async def story() -> None:
        archive = Archive()
        with archive.bus.listen() as listener:
            for number in range(1, 1001):
                job = str(number)
                archive.publish(passing("progress", job), passing("preview", job))
                archive.publish(durable(number, job, kind="job", finished=None if number == 1000 else 1.0))
            assert list(listener._passing) == [("progress", "1000"), ("preview", "1000")]

    asyncio.run(story())


def test_nobody_waits_while_someone_far_behind_is_told_from_the_store() -> None:
    reached, may_go_on = threading.Event(), threading.Event()

    def recall(event_id: int, *, job_id: str | None = None) -> tuple[Event, ...]:
        reached.set()
        assert may_go_on.wait(30), "the loop stood still"
        return (durable(event_id + 1), durable(event_id + 2))

    async def story() -> None:
        with EventBus(recall, last_id=5).listen(after=3) as listener:
            heard = asyncio.ensure_future(listener.get())
            assert await asyncio.to_thread(reached.wait, 30)
            may_go_on.set()
            assert [event.id for event in await heard] == [4, 5]

    asyncio.run(story())


def test_who_comes_back_to_one_job_is_told_without_a_look_at_the_others() -> None:
    async def story() -> Archive:
        archive = Archive()
        archive.publish(*(durable(number, "another") for number in range(1, 5000)), durable(5000, "mine"))
        with archive.bus.listen(after=0, job_id="mine") as listener:
            assert [event.id for event in await drain(listener)] == [5000]
        with archive.bus.listen(after=0, job_id="nobody's") as listener:
            assert await drain(listener) == []
            archive.publish(durable(5001, "nobody's"))
            assert [event.id for event in await drain(listener)] == [5001]
        return archive

    assert asyncio.run(story()).recalled == 2


def test_a_listener_to_one_job_hears_of_no_other() -> None:
    async def story() -> None:
        archive = Archive()
        with archive.bus.listen(job_id="b") as listener:
            archive.publish(durable(1), passing("progress"), durable(2, "b"), passing("worker", None))
            assert [event.id for event in await drain(listener)] == [2]

    asyncio.run(story())


def test_each_kind_of_file_that_changes_is_told() -> None:
    async def story() -> None:
        archive = Archive()
        with archive.bus.listen() as listener:
            for kind in ("lora", "checkpoint", "lora"):
                archive.publish(passing("catalogue", None, kind=kind))
            assert [event.data["kind"] for event in await drain(listener)] == ["checkpoint", "lora"]

    asyncio.run(story())


def test_events_come_from_any_thread() -> None:
    async def story() -> None:
        archive = Archive()
        with archive.bus.listen() as listener:
            thread = threading.Thread(target=archive.publish, args=tuple(durable(n) for n in range(1, 101)))
            thread.start()
            heard: list[Event] = []
            async for event in listener:
                heard.append(event)
                if event.id == 100:
                    break
            thread.join()
        assert [event.id for event in heard] == list(range(1, 101))

    asyncio.run(story())


def test_silence_ends_a_wait() -> None:
    async def story() -> tuple[Event, ...]:
        with Archive().bus.listen() as listener:
            return await listener.get(timeout=0.01)

    assert asyncio.run(story()) == ()


def test_a_listener_whose_loop_is_gone_disturbs_nobody() -> None:
    archive = Archive()

    async def leave(listen: Callable[[], Listener]) -> Listener:
        return listen()

    asyncio.run(leave(archive.bus.listen))
    archive.publish(durable(1))
    assert archive.bus.last_id == 1


def test_an_id_from_the_future_means_from_now_on() -> None:
    async def story() -> None:
        archive = Archive()
        archive.publish(durable(1))
        with archive.bus.listen(after=99) as listener:
            archive.publish(durable(2))
            assert [event.id for event in await drain(listener)] == [2]

    asyncio.run(story())


def test_what_passes_is_told_ten_times_a_second_and_what_lasts_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert PAUSE == 0.1

    async def story() -> list[Event]:
        archive = Archive()
        heard: list[Event] = []
        with archive.bus.listen() as listener:
            monkeypatch.setattr("modules.jobs.bus.PAUSE", 3600)
            archive.publish(passing("progress", step=0))
            heard += await listener.get(timeout=60)
            monkeypatch.setattr("modules.jobs.bus.PAUSE", 0.5)
            began = time.monotonic()
            archive.publish(passing("progress", step=1), durable(1), passing("progress", step=2))
            heard += await listener.get(timeout=60)  # which does not wait for the end of the hour
            for step in range(3, 9):
                archive.publish(passing("progress", step=step))
            heard += await listener.get(timeout=60)
            assert time.monotonic() - began > 0.49
        return heard

    heard = asyncio.run(story())
    assert [event.id or event.data["step"] for event in heard] == [0, 1, 2, 8]


def test_who_waits_for_one_job_does_not_read_what_happens_to_others() -> None:
    async def story() -> Archive:
        archive = Archive()
        with archive.bus.listen(job_id="mine") as listener:
            archive.publish(*(durable(number, "another") for number in range(1, 3 * REMEMBERED)))
            archive.publish(durable(3 * REMEMBERED, "mine"))
            assert [event.id for event in await drain(listener)] == [3 * REMEMBERED]
        return archive

    assert asyncio.run(story()).recalled == 0


def test_an_event_is_put_into_words_once_for_all_listeners() -> None:
    async def story() -> None:
        archive = Archive()
        with archive.bus.listen() as one, archive.bus.listen() as other:
            archive.publish(durable(1, text="naïve 猫"))
            (first,), (second,) = await one.get(timeout=60), await other.get(timeout=60)
        assert first.text is second.text
        assert json.loads(first.text) == {"text": "naïve 猫"}

    asyncio.run(story())
