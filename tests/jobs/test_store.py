"""The queue file keeps what it was given, in order, through restarts and from many threads."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modules.jobs import Event, Job, JobState, JobStore, Picture, QueueBlocked, UnknownJob
from modules.params import BadFile, Img2ImgRequest, Settings, Txt2ImgRequest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return JobStore(tmp_path / "data" / "queue.db")


def add(store: JobStore, prompt: str = "a cat", **fields: object) -> Job:
    return store.add(Txt2ImgRequest(prompt=prompt, seed=1, **fields), Settings())


def picture(job: Job, index: int = 0, **fields: object) -> Picture:
    values = {"path": Path("a.png"), "seed": 2**64 - 1, "infotext": "a cat", "width": 64, "height": 64, **fields}
    return Picture(job_id=job.id, index=index, **values)


def test_a_job_comes_back_as_it_was_given(store: JobStore) -> None:
    request = Txt2ImgRequest(prompt="ein Käfer\n<lora:x:1>", seed=2**64 - 1, override_settings={"emphasis": "None"})
    settings = Settings().overridden({"emphasis": "None"})
    job = store.get(store.add(request, settings).id)
    assert (job.request, job.settings, job.state) == (request, settings, JobState.QUEUED)


def test_everything_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    store = JobStore(path)
    done, waiting = add(store), add(store)
    store.start_next()
    store.add_picture(picture(done))
    store.add_notice(done.id, "LoRA x is missing")
    store.finish(done.id, JobState.DONE)
    store.save_settings({"emphasis": "None"})
    name = store.add_input(b"bytes")
    before = [store.get(done.id), store.get(waiting.id), store.last_event_id()]
    store.close()
    again = JobStore(path)
    assert [again.get(done.id), again.get(waiting.id), again.last_event_id()] == before
    assert again.settings() == {"emphasis": "None"}
    assert again.input(name) == b"bytes"


def test_positions_count_from_one_and_only_while_waiting(store: JobStore) -> None:
    jobs = [add(store) for _ in range(3)]
    store.start_next()
    assert [store.get(job.id).position for job in jobs] == [None, 1, 2]


@pytest.mark.parametrize(("position", "order"), [(1, [2, 0, 1]), (2, [0, 2, 1]), (3, [0, 1, 2]), (99, [0, 1, 2])])
def test_a_waiting_job_can_be_moved(store: JobStore, position: int, order: list[int]) -> None:
    jobs = [add(store) for _ in range(3)]
    assert store.move(jobs[2].id, position).position == min(position, 3)
    assert store.queue() == tuple(jobs[index].id for index in order)


def test_a_job_put_back_keeps_its_place_and_its_attempts(store: JobStore) -> None:
    first, second = add(store), add(store)
    store.start_next()
    assert store.requeue(first.id).attempts == 1
    assert store.queue() == (first.id, second.id)
    store.start_next()
    assert store.requeue(first.id, forgive=True).attempts == 1


def test_a_job_that_is_over_stays_as_it_is(store: JobStore) -> None:
    job = add(store)
    over = store.finish(job.id, JobState.CANCELLED)
    assert store.finish(job.id, JobState.DONE) == over
    assert store.stop(job.id, JobState.INTERRUPTED) == over
    assert store.start_next() is None


def test_jobs_found_running_wait_again_until_their_attempts_are_used_up(store: JobStore) -> None:
    job = add(store)
    store.start_next()
    assert [found.state for found in store.recover(attempts=2)] == [JobState.QUEUED]
    store.start_next()
    (failed,) = store.recover(attempts=2)
    assert failed.state is JobState.FAILED
    assert "2 times" in (failed.error or "")
    assert store.get(job.id) == failed


def test_an_attempt_that_brought_a_picture_is_not_counted_when_the_server_stops(tmp_path: Path) -> None:
    now = [1000.0]
    store = JobStore(tmp_path / "queue.db", clock=lambda: now[0])
    job = add(store)
    for index in range(4):
        now[0] += 1
        store.start_next()
        store.add_picture(picture(job, index))
        assert [found.state for found in store.recover(attempts=2)] == [JobState.QUEUED]
    for state in (JobState.QUEUED, JobState.FAILED):
        now[0] += 1
        store.start_next()
        assert [found.state for found in store.recover(attempts=2)] == [state]
    assert store.get(job.id).error_kind == "worker"


def test_the_end_that_was_asked_for_comes_though_the_server_died_before(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "queue.db")
    jobs = [add(store) for _ in range(3)]
    for _ in jobs:
        store.start_next()
    store.add_picture(picture(jobs[0]))
    assert store.stop(jobs[0].id, JobState.INTERRUPTED).state is JobState.RUNNING
    store.stop(jobs[1].id, JobState.CANCELLED)
    store.stop(jobs[1].id, JobState.INTERRUPTED)
    store.close()
    again = JobStore(tmp_path / "queue.db")
    states = [JobState.INTERRUPTED, JobState.CANCELLED, JobState.QUEUED]
    assert [job.state for job in again.recover(attempts=2)] == states
    over = again.get(jobs[0].id)
    assert over.finished
    assert len(over.pictures) == 1
    assert again.queue() == (jobs[2].id,)
    assert again.get(jobs[2].id).finished is None


def test_the_end_that_was_asked_for_comes_though_all_attempts_are_used_up(store: JobStore) -> None:
    job = add(store)
    store.start_next()
    store.stop(job.id, JobState.CANCELLED)
    assert [found.state for found in store.recover(attempts=1)] == [JobState.CANCELLED]


def test_a_picture_told_twice_is_announced_once(store: JobStore) -> None:
    job = add(store)
    events: list[Event] = []
    store.announce = events.append
    store.add_picture(picture(job))
    store.add_picture(picture(job))
    store.add_picture(picture(job, path=Path("b.png")))
    assert [event.kind for event in events] == ["picture", "picture"]
    assert [made.path for made in store.get(job.id).pictures] == [Path("b.png")]


def test_a_part_started_again_is_counted_once(store: JobStore) -> None:
    job = add(store)
    store.start_next()
    assert store.count_attempt(job.id, 2).attempts == 2
    last = store.last_event_id()
    assert store.count_attempt(job.id, 2).attempts == 2
    assert store.count_attempt(job.id, 1).attempts == 2
    assert store.last_event_id() == last


def fill_disk(store: JobStore) -> None:
    """Have the file grow no more, as on a full disk."""
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}")


def free_disk(store: JobStore) -> None:
    store._db.execute("PRAGMA max_page_count = 1000000")


def test_a_full_disk_is_said_and_changes_nothing(store: JobStore) -> None:
    told: list[Event] = []
    job = add(store)
    store.announce = told.append
    before = (store.get(job.id), store.last_event_id())
    fill_disk(store)
    with pytest.raises(QueueBlocked, match="disk is full"):
        store.add_input(b"x" * 1_000_000)
    with pytest.raises(QueueBlocked, match="disk is full"):
        store.add_picture(picture(job, infotext="x" * 1_000_000), lambda: told.append(Event(kind="job")))
    assert not told
    assert (store.get(job.id), store.last_event_id()) == before
    free_disk(store)
    store.add_picture(picture(job, infotext="x" * 1_000_000))
    assert len(store.get(job.id).pictures) == 1


def test_what_is_to_follow_a_record_is_done_before_anyone_is_told(store: JobStore) -> None:
    told: list[str] = []
    job = add(store)
    store.announce = lambda event: told.append(event.kind)
    store.add_picture(picture(job), lambda: told.append(f"{len(store.get(job.id).pictures)} recorded"))
    assert told == ["1 recorded", "picture"]


def test_a_picture_made_again_replaces_its_forerunner(store: JobStore) -> None:
    job = add(store)
    store.add_picture(picture(job, infotext="first"))
    store.add_picture(picture(job, infotext="second"))
    assert [made.infotext for made in store.get(job.id).pictures] == ["second"]
    assert store.picture(job.id, 0).seed == 2**64 - 1


def test_a_notice_is_noted_once(store: JobStore) -> None:
    job = add(store)
    for text in ("a", "b", "a"):
        store.add_notice(job.id, text)
    assert store.get(job.id).notices == ("a", "b")


def test_every_change_is_told_once_it_is_stored_in_the_order_of_ids(store: JobStore) -> None:
    told: list[Event] = []
    store.announce = told.append
    job = add(store)
    store.start_next()
    store.add_picture(picture(job))
    store.finish(job.id, JobState.DONE)
    assert [event.kind for event in told] == ["job", "job", "picture", "job"]
    assert [event.id for event in told] == [1, 2, 3, 4]
    assert store.events_after(0) == tuple(told)
    assert store.events_after(2) == tuple(told[2:])
    assert told[2].data["url"] == f"/tagbrush/v1/jobs/{job.id}/pictures/0"


def test_the_wire_form_hides_paths_and_settings(store: JobStore) -> None:
    job = add(store)
    store.add_picture(picture(job))
    wire = store.get(job.id).wire()
    assert "settings" not in wire
    assert "key" not in wire
    assert "path" not in wire["pictures"][0]


def test_unknown_things_are_named(store: JobStore) -> None:
    with pytest.raises(UnknownJob, match='no job "x"'):
        store.get("x")
    with pytest.raises(UnknownJob, match="no picture 3"):
        store.picture(add(store).id, 3)
    with pytest.raises(UnknownJob, match="Upload"):
        store.add(Img2ImgRequest(init_images=("f" * 64,)), Settings())
    assert len(store.active()) == 1


def test_the_same_bytes_are_stored_once_and_go_when_no_job_needs_them(tmp_path: Path) -> None:
    now = [1000.0]
    store = JobStore(tmp_path / "queue.db", clock=lambda: now[0])
    used, unused = store.add_input(b"used"), store.add_input(b"unused")
    assert store.add_input(b"used") == used
    job = store.add(Img2ImgRequest(init_images=(used,)), Settings())
    store.prune(unused_inputs_before=2000.0)
    assert (store.has_input(used), store.has_input(unused)) == (True, False)
    store.finish(job.id, JobState.DONE)
    store.prune(unused_inputs_before=2000.0)
    assert not store.has_input(used)


def test_too_many_inputs_go_oldest_first_but_none_that_is_needed_or_came_just_now(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modules.jobs.store.LARGEST_INPUTS", 250)
    now = [10_000.0]
    store._clock = lambda: now[0]
    names = []
    for letter in b"abcdefgh":
        names.append(store.add_input(bytes([letter]) * 100))
        if letter == ord("b"):
            store.add(Img2ImgRequest(init_images=(names[-1],)), Settings())
        now[0] += 1000
    while store.prune(unused_inputs_before=0):
        pass
    # f, g and h came within the hour, and are too much by themselves; b is needed.
    assert "".join(letter for letter, name in zip("abcdefgh", names, strict=True) if store.has_input(name)) == "bfgh"


def test_an_input_stays_as_long_after_its_last_job_as_after_it_came(store: JobStore) -> None:
    now = [1000.0]
    store._clock = lambda: now[0]
    used, unused = store.add_input(b"used"), store.add_input(b"unused")
    now[0] = 3000.0
    job = store.add(Img2ImgRequest(init_images=(used,)), Settings())
    store.stop(job.id)
    store.prune(unused_inputs_before=2000.0)
    assert (store.has_input(used), store.has_input(unused)) == (True, False)


def test_many_inputs_go_some_at_a_time(store: JobStore) -> None:
    names = [store.add_input(b"%d" % number) for number in range(10)]
    assert store.prune(unused_inputs_before=float("inf"))
    assert 0 < sum(map(store.has_input, names)) < 10
    while store.prune(unused_inputs_before=float("inf")):
        pass
    assert not any(map(store.has_input, names))


def test_what_is_forgotten_makes_the_file_smaller(store: JobStore, tmp_path: Path) -> None:
    def size() -> int:
        return sum(path.stat().st_size for path in (tmp_path / "data").iterdir())

    add(store)
    before = size()
    for letter in b"abcdefgh":
        store.add_input(bytes([letter]) * 2_000_000)
    kept = add(store)
    assert size() > 16_000_000
    while store.prune(unused_inputs_before=float("inf")):
        pass
    assert size() < before + 200_000
    assert store.get(kept.id) == kept


@pytest.mark.parametrize("code", [sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_BUSY, None])
def test_what_may_be_over_in_a_while_is_told_as_such(
    store: JobStore, monkeypatch: pytest.MonkeyPatch, code: int | None
) -> None:
    error: Exception = MemoryError()  # so Python calls SQLITE_NOMEM
    if code is not None:
        error = sqlite3.OperationalError("locking protocol")
        error.sqlite_errorcode = code

    class Broken:
        in_transaction = False

        def execute(self, query: str) -> None:
            raise error

    with monkeypatch.context() as patch:
        patch.setattr(store, "_db", Broken())
        with pytest.raises(QueueBlocked, match="cannot be written"):
            store.add_input(b"x")
    assert store.has_input(store.add_input(b"x"))


def test_jobs_are_listed_by_their_making_though_the_clock_was_put_back(store: JobStore) -> None:
    jobs = []
    for now in (3000.0, 1000.0, 2000.0):
        store._clock = lambda now=now: now
        jobs.append(add(store).id)
    assert [job.id for job in store.recent()] == jobs[::-1]


def test_the_events_of_one_job_are_told_by_themselves(store: JobStore) -> None:
    jobs = [add(store) for _ in range(3)]
    store.stop(jobs[1].id)
    assert [event.id for event in store.events_after(0, job_id=jobs[1].id)] == [2, 4]
    assert [event.id for event in store.events_after(2, job_id=jobs[1].id)] == [4]


def test_a_long_history_slows_down_neither_the_next_job_nor_a_look_at_the_last(store: JobStore) -> None:
    asked: list[str] = []
    store._db.set_trace_callback(asked.append)
    add(store)
    store.recent()
    store.events_after(0, job_id="a")
    store._db.set_trace_callback(None)
    (making,) = (query for query in asked if query.startswith("INSERT INTO jobs"))
    (last,) = (query for query in asked if "FROM jobs ORDER BY" in query)
    (events,) = (query for query in asked if "FROM events" in query)
    how = {
        query: " ".join(row["detail"] for row in store._db.execute(f"EXPLAIN QUERY PLAN {query}"))
        for query in (making, last, events)
    }
    assert "jobs_by_rank" in how[making]
    assert "TEMP B-TREE" not in how[last]
    assert "events_by_job" in how[events]


def test_many_threads_share_one_store(store: JobStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        jobs = list(pool.map(lambda _: add(store), range(40)))
        started = list(pool.map(lambda _: store.start_next(), range(40)))
    assert len(store.queue()) == 0
    assert {job.id for job in started if job} == {job.id for job in jobs}
    assert [event.id for event in store.events_after(0)] == list(range(1, 81))


def test_a_job_of_an_older_version_can_still_be_shown(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    store = JobStore(path)
    job = add(store)
    store.close()
    with sqlite3.connect(path) as db:
        db.execute("""UPDATE jobs SET request = json_set(request, '$.gone', 1, '$.steps', 999999)""")
    db.close()
    assert JobStore(path).get(job.id).request.steps == 999_999


def test_a_second_server_on_one_queue_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    store = JobStore(path)
    script = f"from pathlib import Path; from modules.jobs import JobStore; JobStore(Path({str(path)!r}))"
    second = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "another Tagbrush is using this data folder" in second.stderr
    store.close()
    JobStore(path).close()


def test_a_broken_or_newer_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    broken, newer = tmp_path / "broken.db", tmp_path / "newer.db"
    broken.write_bytes(b"this is no database at all" * 100)
    with sqlite3.connect(newer) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(BadFile, match="not a usable queue"):
        JobStore(broken)
    with pytest.raises(BadFile, match="newer Tagbrush"):
        JobStore(newer)
    assert broken.read_bytes() == b"this is no database at all" * 100


OLDER: Mapping[int, tuple[str, ...]] = {
    1: ("ALTER TABLE pictures DROP COLUMN kind",),
    2: ("ALTER TABLE jobs DROP COLUMN error_kind", "ALTER TABLE jobs DROP COLUMN resumed"),
    3: ("ALTER TABLE jobs DROP COLUMN wanted",),
    4: ("DROP INDEX jobs_by_rank", "DROP INDEX events_by_job", "PRAGMA auto_vacuum = NONE", "VACUUM"),
}
"""What makes a file of the next version into one of this."""


@pytest.mark.parametrize("version", OLDER)
def test_a_file_of_an_older_version_is_taken_over(tmp_path: Path, version: int) -> None:
    path = tmp_path / "queue.db"
    store = JobStore(path)
    job = add(store)
    store.start_next()
    store.add_picture(picture(job))
    store.close()
    with sqlite3.connect(path) as db:
        for change in (change for older, changes in OLDER.items() if older >= version for change in changes):
            db.execute(change)
        db.execute(f"PRAGMA user_version = {version}")
    db.close()
    again = JobStore(path)
    assert again._db.execute("PRAGMA auto_vacuum").fetchone()[0] == 2
    again.add_picture(picture(job, 1, kind="mask"))
    assert [made.kind for made in again.get(job.id).pictures] == ["picture", "mask"]
    assert [found.state for found in again.recover(attempts=2)] == [JobState.QUEUED]
    assert again.finish(job.id, JobState.FAILED, "no", "request").error_kind == "request"


def test_old_events_are_forgotten_but_ids_go_on(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modules.jobs.store.KEPT_EVENTS", 2)
    for _ in range(5):
        add(store)
    assert store.first_event_id() == 1
    store.prune(unused_inputs_before=0)
    assert [event.id for event in store.events_after(0)] == [4, 5]
    assert store.first_event_id() == 4
    store.prune(unused_inputs_before=0)
    assert store.last_event_id() == 5


def test_a_data_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "queue").mkdir()
    with pytest.raises(BadFile, match=r"not a folder.*--data-dir"):
        JobStore(tmp_path / "file" / "queue")
    with pytest.raises(BadFile, match=r"unable to open.*--data-dir"):
        JobStore(tmp_path / "queue")


def test_the_jobs_in_hand_are_those_that_run_or_the_next(store: JobStore) -> None:
    first, second, _ = (store.add(Txt2ImgRequest(prompt=str(number)), Settings()) for number in range(3))
    assert [job.id for job in store.in_hand()] == [first.id]
    store.start_next()
    assert [(job.id, job.state) for job in store.in_hand()] == [(first.id, "running")]
    store.finish(first.id, JobState.DONE)
    assert [job.id for job in store.in_hand()] == [second.id]
    assert [(job.id, job.position) for job in store.active()] == [
        (job.id, store.get(job.id).position) for job in store.active()
    ]


def test_options_are_stored_together_or_not_at_all(store: JobStore, tmp_path: Path) -> None:
    # R008
    store.save_settings({"emphasis": "None", "CLIP_stop_at_last_layers": 2, "of a later version": [1]})
    with pytest.raises(TypeError):
        store.save_settings({"emphasis": "Ignore", "CLIP_stop_at_last_layers": object()})
    store._db.execute(
        "CREATE TEMP TRIGGER fails BEFORE UPDATE ON settings WHEN NEW.key = 's_churn' BEGIN SELECT RAISE(FAIL, ''); END"
    )
    store.save_settings({"s_churn": 1.0})
    with pytest.raises((sqlite3.DatabaseError, QueueBlocked)):
        store.save_settings({"emphasis": "Ignore", "s_churn": 2.0})
    stored = store.settings()
    assert stored == {"emphasis": "None", "CLIP_stop_at_last_layers": 2, "of a later version": [1], "s_churn": 1.0}
    store.close()
    assert JobStore(tmp_path / "data" / "queue.db").settings() == stored
