"""One worker, one job at a time, whatever happens to either."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable

import pytest

from modules.jobs import JobState, QueueBlocked
from modules.params import Img2ImgRequest

from .conftest import Bench, MakeBench


def until(claim: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


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
    poison, good = bench.submit("picture die"), bench.submit("picture")
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
    bench.jobs.cancel(job.id)
    time.sleep(0.3)
    bench.jobs.cancel(job.id)
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
    job = bench.submit("picture die-once wait")
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
    assert not is_alive(bench.worker_pids()[0])


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


class Blocked:
    """A queue file that takes no change while it is `closed`; afterwards everything goes on."""

    def __init__(self, bench: Bench, monkeypatch: pytest.MonkeyPatch, reason: str, code: int) -> None:
        self.closed = False
        self._error, self._db = sqlite3.OperationalError(reason), bench.store._db
        self._error.sqlite_errorcode = code
        monkeypatch.setattr(bench.store, "_db", self)

    def __getattr__(self, name: str) -> object:
        return getattr(self._db, name)

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
