"""One worker, one job at a time, whatever happens to either."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable
from datetime import date

import psutil
import pytest
from PIL import Image

from modules.engine.saved import SavedPictures, kept_folder
from modules.images import Mark, save_picture
from modules.jobs import JobState, Picture, QueueBlocked
from modules.jobs.messages import Preview, StepDone
from modules.jobs.running import Running
from modules.jobs.supervisor import _explain
from modules.params import Img2ImgRequest

from .conftest import Bench, MakeBench
from .mortal import folders_of


def until(claim: Callable[[], object], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Whether it runs; one that nobody has asked for its exit code yet does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_jobs_are_done_in_their_order(bench: Bench) -> None:
    first, second = bench.submit("picture"), bench.submit("picture picture")
    assert [bench.done(job).state for job in (first, second)] == [JobState.DONE] * 2
    started = [bench.jobs.get(job.id).started or 0 for job in (first, second)]
    assert started == sorted(started)
    assert [picture.index for picture in bench.jobs.get(second.id).pictures] == [0, 1]


def test_a_failed_job_says_why_and_the_next_one_runs(bench: Bench) -> None:
    bad, good = bench.submit("fail"), bench.submit("picture")
    assert bench.done(bad).state is JobState.FAILED
    assert bench.jobs.get(bad.id).error == "Sampler is unknown."
    assert bench.jobs.get(bad.id).error_kind == "fault"
    assert bench.done(bench.submit("refuse")).error_kind == "request"
    assert bench.done(good).state is JobState.DONE
    assert len(bench.worker_pids()) == 1


def test_a_job_whose_worker_dies_goes_on_where_it_was(bench: Bench) -> None:
    job = bench.done(bench.submit("picture die-once picture"))
    assert job.state is JobState.DONE
    assert job.attempts == 2
    assert [picture.infotext for picture in job.pictures] == ["attempt after 0", "attempt after 1"]
    assert any("started again" in notice for notice in job.notices)


def test_a_job_that_kills_its_worker_twice_fails_with_the_reason_and_the_next_one_runs(bench: Bench) -> None:
    poison, good = bench.submit("picture die", n_iter=2), bench.submit("picture")
    failed = bench.done(poison)
    assert failed.state is JobState.FAILED
    assert failed.attempts == 2
    if sys.platform != "win32":
        assert "signal 9 (SIGKILL)" in (failed.error or "")
        assert "out of memory" in (failed.error or "")
    assert len(failed.pictures) == 1
    assert bench.done(good).state is JobState.DONE


def test_the_reason_of_a_death_holds_exit_code_and_last_words(bench: Bench) -> None:
    error = bench.done(bench.submit("exit")).error or ""
    assert "exit code 7" in error
    assert "last words" in error


def test_a_worker_that_speaks_garbage_counts_as_dead(bench: Bench) -> None:
    assert bench.done(bench.submit("garbage")).state is JobState.FAILED
    assert bench.done(bench.submit("picture")).state is JobState.DONE


def test_prints_of_libraries_do_not_disturb(bench: Bench) -> None:
    job = bench.done(bench.submit("print picture print picture"))
    assert job.state is JobState.DONE
    assert len(job.pictures) == 2
    assert len(bench.worker_pids()) == 1


def test_what_the_worker_logs_is_logged_here_at_its_level(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.done(bench.submit("log"))
    assert ("tagbrush.worker", logging.WARNING, "mind the gap") in caplog.record_tuples


def test_interrupt_keeps_what_exists(bench: Bench) -> None:
    job = bench.submit("picture wait picture")
    until(lambda: bench.jobs.get(job.id).progress)
    bench.jobs.interrupt(job.id)
    over = bench.done(job)
    assert over.state is JobState.INTERRUPTED
    assert over.pictures
    assert len(bench.worker_pids()) == 1


def test_cancelling_a_running_job_ends_it_as_cancelled(bench: Bench) -> None:
    job = bench.submit("wait")
    until(lambda: bench.jobs.get(job.id).progress)
    bench.jobs.cancel(job.id)
    assert bench.done(job).state is JobState.CANCELLED


def test_cancelling_a_waiting_job_takes_it_off_the_queue(bench: Bench) -> None:
    running, waiting = bench.submit("wait"), bench.submit("picture")
    assert bench.jobs.cancel(waiting.id).state is JobState.CANCELLED
    bench.jobs.cancel(running.id)
    assert bench.done(running).state is JobState.CANCELLED
    assert not bench.jobs.get(waiting.id).pictures


def test_skip_goes_on_with_the_next_batch(bench: Bench) -> None:
    job = bench.submit("batches")
    for batch in range(3):
        until(lambda batch=batch: (progress := bench.jobs.get(job.id).progress) and progress.batch == batch)
        bench.jobs.skip(job.id)
    assert bench.done(job).state is JobState.DONE


def test_a_batch_counts_as_skipped_until_it_ends(bench: Bench) -> None:
    job = bench.submit("wait")  # which goes on with the batch
    until(lambda: bench.jobs.get(job.id).progress)
    bench.jobs.skip(job.id)
    until(lambda: (progress := bench.jobs.get(job.id).progress) and progress.is_skipped)
    bench.jobs.interrupt(job.id)
    assert bench.done(job).state is JobState.INTERRUPTED


def test_a_worker_that_does_not_stop_when_asked_twice_is_ended_by_force(bench: Bench) -> None:
    job, good = bench.submit("step deaf"), bench.submit("picture")
    until(lambda: bench.jobs.get(job.id).progress)
    until(lambda: bench.jobs.cancel(job.id).state is JobState.CANCELLED)
    assert bench.done(job).state is JobState.CANCELLED
    assert bench.done(good).state is JobState.DONE


def test_progress_foresees_the_end(bench: Bench) -> None:
    job = bench.submit("step wait")
    until(lambda: (progress := bench.jobs.get(job.id).progress) and progress.steps == 9)
    assert bench.jobs.preview(job.id) == b"jpeg"
    bench.jobs.cancel(job.id)
    bench.done(job)
    assert bench.jobs.preview(job.id) is None


def test_inputs_reach_the_worker(bench: Bench) -> None:
    name = bench.jobs.add_input(b"a picture" * 100_000)
    job = bench.jobs.submit(Img2ImgRequest(prompt="input", init_images=(name, name)))
    assert bench.done(job).notices == ("a picture" * 100_000,)


def test_a_worker_that_cannot_start_fails_the_waiting_jobs_and_is_tried_again_for_a_new_one(
    make_bench: MakeBench,
) -> None:
    bench = make_bench("unstartable", start=False)
    job = bench.submit("picture")
    bench.jobs.start()
    failed = bench.done(job)
    assert failed.state is JobState.FAILED
    assert "no such luck" in (failed.error or "")
    assert len(bench.worker_pids()) == 3
    until(lambda: bench.jobs.worker.state == "dead")
    assert bench.done(bench.submit("picture")).state is JobState.FAILED
    assert len(bench.worker_pids()) == 4


def test_a_worker_that_explains_itself_is_believed_at_once(make_bench: MakeBench) -> None:
    bench = make_bench("unusable")
    job = bench.done(bench.submit("picture"))
    assert job.error == "Device cuda is not there. Use --device cpu."
    assert bench.jobs.worker.message == job.error


def test_a_worker_killed_while_idle_is_replaced(bench: Bench) -> None:
    until(lambda: bench.jobs.worker.state == "ready")
    os.kill(bench.worker_pids()[0], getattr(signal, "SIGKILL", signal.SIGTERM))
    until(lambda: len(bench.worker_pids()) == 2)
    assert bench.done(bench.submit("picture")).state is JobState.DONE


def test_closing_puts_the_running_job_back_and_the_next_start_finishes_it(make_bench: MakeBench) -> None:
    bench = make_bench(file="queue.db")
    job = bench.submit("picture die-once wait", n_iter=2)
    until(lambda: bench.jobs.get(job.id).progress)
    bench.jobs.close()
    again = make_bench(file="queue.db")
    until(lambda: again.jobs.get(job.id).progress)
    assert again.jobs.get(job.id).attempts == 2
    again.jobs.interrupt(job.id)
    assert again.done(job).state is JobState.INTERRUPTED


@pytest.mark.skipif(sys.platform == "win32", reason="asks for a process by its id")
def test_closing_leaves_no_worker_behind(make_bench: MakeBench) -> None:
    bench = make_bench()
    job = bench.submit("step deaf")
    until(lambda: bench.jobs.get(job.id).progress)
    bench.jobs.close()
    until(lambda: not is_alive(bench.worker_pids()[0]))


def test_a_fault_in_the_queue_is_told_and_the_queue_goes_on(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_bench(start=False)

    def broken() -> None:
        raise RuntimeError("a bolt is loose")

    with monkeypatch.context() as patch:
        patch.setattr(bench.store, "start_next", broken)
        bench.jobs.start()
        until(lambda: "a bolt is loose" in bench.jobs.worker.message)
    assert bench.done(bench.submit("picture")).state is JobState.DONE


BLOCKED = "The queue file cannot be written: database is locked. Is the disk full?"


class Blocked:
    """A queue file that takes no change while it is `closed`; afterwards everything goes on."""

    def __init__(self, bench: Bench, monkeypatch: pytest.MonkeyPatch, reason: str, code: int) -> None:
        self.closed = False
        self._error, self._db = sqlite3.OperationalError(reason), bench.store._db
        self._error.sqlite_errorcode = code
        monkeypatch.setattr(bench.store, "_db", self)

    def __getattr__(self, name: str) -> object:
        return getattr(self._db, name)

    def open_at_the_end(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have it open again once nobody waits for it any more, since all is to end."""
        leave = bench.supervisor._ledger.leave

        def leave_and_open() -> None:
            leave()
            self.closed = False

        monkeypatch.setattr(bench.supervisor._ledger, "leave", leave_and_open)

    def execute(self, query: str, *values: object) -> sqlite3.Cursor:
        if self.closed and query == "BEGIN IMMEDIATE":
            raise self._error
        return self._db.execute(query, *values)


@pytest.mark.parametrize(
    ("reason", "code"),
    [("database is locked", sqlite3.SQLITE_BUSY), ("database or disk is full", sqlite3.SQLITE_FULL)],
)
def test_while_the_queue_file_is_blocked_jobs_wait_and_nothing_is_lost(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch, reason: str, code: int
) -> None:
    bench = make_bench(file="queue.db")
    until(lambda: bench.jobs.worker.state == "ready")
    file = Blocked(bench, monkeypatch, reason, code)
    job, next_one = bench.submit("wait picture picture"), bench.submit("picture")
    until(lambda: bench.jobs.get(job.id).progress)
    file.closed = True
    bench.supervisor.stop_job(job.id, JobState.INTERRUPTED)
    until(lambda: reason in bench.jobs.worker.message)
    with pytest.raises(QueueBlocked, match=reason):
        bench.submit("picture")
    assert bench.jobs.get(job.id).state is JobState.RUNNING
    file.closed = False
    assert bench.done(job).state is JobState.INTERRUPTED
    assert len(bench.done(job).pictures) == 2
    assert bench.done(next_one).state is JobState.DONE
    assert bench.jobs.worker.message == ""


def test_a_queue_file_that_stays_blocked_does_not_hinder_closing(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_bench(file="queue.db")
    file = Blocked(bench, monkeypatch, "database is locked", sqlite3.SQLITE_BUSY)
    job = bench.submit("wait save")
    until(lambda: bench.jobs.get(job.id).progress)
    file.closed = True
    bench.supervisor.stop_job(job.id, JobState.INTERRUPTED)
    until(lambda: "locked" in bench.jobs.worker.message)
    bench.jobs.close()
    again = make_bench(file="queue.db")
    until(lambda: again.jobs.get(job.id).progress)
    again.jobs.interrupt(job.id)
    assert [picture.index for picture in again.done(job).pictures] == [0]
    assert len(list(bench.folder.rglob("*.png"))) == 1


def test_what_was_told_while_all_ends_and_the_file_is_blocked_is_found_on_disk(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_bench("thread", file="queue.db")
    file = Blocked(bench, monkeypatch, "database is locked", sqlite3.SQLITE_BUSY)
    file.open_at_the_end(bench, monkeypatch)
    job = bench.submit("wait save")
    until(lambda: bench.jobs.get(job.id).progress)
    file.closed = True
    bench.supervisor.stop_job(job.id, JobState.INTERRUPTED)
    until(lambda: "locked" in bench.jobs.worker.message)
    until(lambda: bench.supervisor._inbox._actions.qsize())  # the worker's last word
    bench.jobs.close()
    again = make_bench(start=False, file="queue.db").jobs.get(job.id)
    assert again.state is JobState.INTERRUPTED
    assert [picture.path.exists() for picture in again.pictures] == [True]


@pytest.mark.skipif(sys.platform == "win32", reason="kills by SIGKILL")
def test_what_a_dead_worker_saved_is_found_though_all_ends_while_the_file_is_blocked(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_bench(file="queue.db")
    file = Blocked(bench, monkeypatch, "database is locked", sqlite3.SQLITE_BUSY)
    file.open_at_the_end(bench, monkeypatch)
    job = bench.submit("wait save:saved")
    until(lambda: bench.jobs.get(job.id).progress)
    file.closed = True
    bench.supervisor.stop_job(job.id, JobState.INTERRUPTED)
    until(lambda: "locked" in bench.jobs.worker.message)
    bench.jobs.close()
    again = make_bench(start=False, file="queue.db").jobs.get(job.id)
    assert again.state is JobState.INTERRUPTED
    assert [picture.path.exists() for picture in again.pictures] == [True]


def test_a_start_that_ends_while_the_file_is_blocked_leaves_what_was_saved_to_the_next(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_bench("thread", start=False, file="queue.db")
    job = bench.submit("save")
    bench.store.start_next()
    save_picture(
        Image.new("RGB", (8, 8), "teal"),
        kept_folder(job.request, job.settings, folders_of(bench.folder)),
        seed=5,
        infotext="picture 0",
        day=date.today(),
        mark=Mark(job_id=job.id, index=0, seed=5, infotext="picture 0", width=8, height=8),
    )
    file = Blocked(bench, monkeypatch, "database is locked", sqlite3.SQLITE_BUSY)
    file.open_at_the_end(bench, monkeypatch)
    file.closed = True
    bench.jobs.start()
    until(lambda: "locked" in bench.jobs.worker.message)
    bench.jobs.close()
    over = make_bench("thread", file="queue.db").done(job)
    assert [picture.index for picture in over.pictures] == [0]
    assert len(list(bench.folder.rglob("*.png"))) == 1


def test_a_worker_that_is_through_is_free_though_its_pictures_cannot_be_looked_for(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*job: object) -> Iterable[Picture]:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(SavedPictures, "found", broken)
    bench = make_bench("thread")
    lacks_one, next_one = bench.submit("picture", n_iter=2), bench.submit("picture")
    assert bench.done(lacks_one).state is JobState.DONE
    assert bench.done(next_one).state is JobState.DONE


def test_a_picture_whose_record_failed_is_recorded_when_its_worker_is_through(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_bench("thread")
    add_picture = bench.store.add_picture

    def fail_once(*picture: object) -> None:
        monkeypatch.setattr(bench.store, "add_picture", add_picture)
        raise sqlite3.DatabaseError("a passing fault")

    monkeypatch.setattr(bench.store, "add_picture", fail_once)
    job = bench.done(bench.submit("save save"))
    assert (job.state, job.attempts) == (JobState.DONE, 1)
    assert [picture.index for picture in job.pictures] == [0, 1]


@pytest.mark.parametrize("error", [PermissionError("the disk is gone"), RuntimeError("a bolt is loose")])
def test_pictures_that_cannot_be_looked_for_hinder_no_worker_and_no_job(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(*job: object) -> Iterable[Picture]:
        raise error

    monkeypatch.setattr(SavedPictures, "found", broken)
    bench = make_bench(start=False)
    found_running = bench.submit("picture")
    bench.store.start_next()
    bench.jobs.start()
    killed = bench.submit("picture die-once picture")
    assert bench.done(found_running).state is JobState.DONE
    assert bench.done(killed).state is JobState.DONE
    assert bench.done(killed).attempts == 2


def test_a_job_in_hand_that_nobody_works_on_can_be_stopped(make_bench: MakeBench) -> None:
    bench = make_bench(start=False)
    bench.submit("picture")
    job = bench.store.start_next()
    assert job is not None
    bench.supervisor._jobs._running[job.id] = Running.of(job)
    bench.jobs.cancel(job.id)
    bench.supervisor._jobs.stop(job.id, JobState.CANCELLED)
    assert bench.jobs.get(job.id).state is JobState.CANCELLED
    assert bench.supervisor._jobs.running(job.id) is None


def test_what_passes_does_not_pile_up_while_the_queue_waits(make_bench: MakeBench) -> None:
    supervisor = make_bench(start=False).supervisor
    (slot,) = supervisor._slots
    worker = object()
    for step in range(1000):
        done = StepDone(job_id="a", batch=0, batches=1, step=step, steps=1000, images_done=0, images=1)
        for word in (done, Preview(job_id="a", data=b"jpeg")):
            supervisor._receive(slot, worker, word)  # type: ignore[arg-type]
    assert supervisor._inbox._actions.qsize() == 2


def test_a_blocked_queue_file_hinders_no_tidying_and_is_no_stumble(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def blocked(**when: float) -> bool:
        raise QueueBlocked(BLOCKED)

    tidied: list[bool] = []
    bench = make_bench("thread", start=False)
    monkeypatch.setattr(bench.store, "prune", blocked)
    monkeypatch.setattr(bench.supervisor, "_tidy", lambda: tidied.append(True))
    bench.jobs.start()
    assert bench.done(bench.submit("picture")).state is JobState.DONE
    until(lambda: tidied)
    assert bench.jobs.worker.message == ""


def test_a_blocked_queue_file_is_told_in_its_own_words() -> None:
    assert _explain(QueueBlocked(BLOCKED)) == BLOCKED


def test_upkeep_goes_on_until_there_is_no_more_of_it(make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modules.jobs.supervisor.PRUNING_PAUSE", 0.001)
    bench = make_bench("thread", start=False, unused_inputs=-1.0)
    names = [bench.jobs.add_input(b"%d" % number) for number in range(7)]
    bench.jobs.start()
    until(lambda: not any(map(bench.store.has_input, names)))
