"""Several workers, several jobs, and one job on several workers."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from modules.images import read_mark
from modules.jobs import Job, Jobs, JobState

from .conftest import Bench, MakeBench
from .test_supervisor import until

TWO = "thread,thread"
MORTAL = "good,good"
"""Two of those that a signal can kill."""


def has_each_picture_once(bench: Bench, job: Job, count: int) -> None:
    """The job's pictures are there, and among the files there is no other and none twice."""
    assert [picture.index for picture in job.pictures] == list(range(count))
    paths = {picture.path for picture in bench.jobs.get(job.id).pictures}
    assert len(paths) == count
    files = [path for path in (bench.folder / "outputs").rglob("*") if path.is_file()]
    assert paths == set(files)
    for path in paths:
        assert read_mark(path) is None


def makers(bench: Bench, job: Job) -> dict[int, set[int]]:
    """The numbers of the job's pictures by the process that made them."""
    by: dict[int, set[int]] = {}
    for pid, job_id, number in bench.made():
        if job_id == job.id:
            by.setdefault(pid, set()).add(number)
    return by


def hold(bench: Bench, *numbers: int) -> None:
    for number in numbers:
        (bench.folder / f"hold-{number}").touch()


def release(bench: Bench) -> None:
    for path in bench.folder.glob("hold-*"):
        path.unlink()


def both_ready(bench: Bench) -> None:
    until(lambda: [worker.state for worker in bench.jobs.workers] == ["ready", "ready"])


def sampling(bench: Bench, *numbers: int) -> None:
    """Wait until these pictures are being sampled, each by a worker."""
    wanted = {b"of %d" % number for number in numbers}
    seen: set[bytes] = set()
    shown = bench.supervisor._jobs.running

    def are_there() -> bool:
        for job in bench.jobs.active():
            running = shown(job.id)
            parts = tuple(running.parts.values()) if running else ()
            seen.update(b"of %d" % part.share.pictures[0] for part in parts if part.said is not None)
        return wanted <= seen

    until(are_there)


def test_the_batches_of_a_job_are_spread_over_idle_workers(make_bench: MakeBench) -> None:
    bench = make_bench(TWO)
    both_ready(bench)
    hold(bench, 0, 4)
    job = bench.submit("each", n_iter=6, batch_size=2)
    sampling(bench, 0, 4)
    release(bench)
    done = bench.done(job)
    assert (done.state, done.attempts) == (JobState.DONE, 1)
    has_each_picture_once(bench, done, 12)
    by = makers(bench, job)
    assert len(by) == 2
    assert all((number ^ 1) in numbers for numbers in by.values() for number in numbers), "a batch was divided"


def test_a_job_can_be_kept_on_one_worker(make_bench: MakeBench) -> None:
    bench = make_bench(TWO)
    both_ready(bench)
    done = bench.done(bench.submit("each", n_iter=6, override_settings={"spread_images": False}))
    has_each_picture_once(bench, done, 6)
    assert len(makers(bench, done)) == 1


def test_as_many_jobs_run_as_there_are_workers_each_with_its_own_progress(make_bench: MakeBench) -> None:
    bench = make_bench(TWO)
    both_ready(bench)
    hold(bench, 0)
    jobs = [bench.submit("each"), bench.submit("each")]
    until(lambda: all(bench.jobs.get(job.id).progress for job in jobs))
    assert [worker.job_id for worker in bench.jobs.workers] == [job.id for job in jobs]
    assert {worker.state for worker in bench.jobs.workers} == {"busy"}
    for job in jobs:
        progress = bench.jobs.get(job.id).progress
        assert progress is not None
        assert progress.job_id == job.id
        until(lambda job=job: bench.jobs.preview(job.id) == b"of 0")
    assert [job.id for job in bench.jobs.active()] == [job.id for job in jobs]
    bench.jobs.cancel(jobs[0].id)
    assert bench.done(jobs[0]).state is JobState.CANCELLED
    assert bench.jobs.get(jobs[1].id).state is JobState.RUNNING
    release(bench)
    assert bench.done(jobs[1]).state is JobState.DONE


def test_who_waits_comes_before_who_has_a_worker_already(make_bench: MakeBench) -> None:
    bench = make_bench(TWO)
    both_ready(bench)
    hold(bench, 0)
    large = bench.submit("each", n_iter=8)
    small = [bench.submit("step"), bench.submit("step")]
    assert bench.done(small[1]).state is JobState.DONE, "the second worker took it"
    release(bench)
    for job in (large, *small):
        assert bench.done(job).state is JobState.DONE
    assert [picture.index for picture in bench.jobs.get(large.id).pictures] == list(range(8))


def test_a_worker_that_becomes_idle_helps(make_bench: MakeBench) -> None:
    bench = make_bench(TWO)
    both_ready(bench)
    other = bench.submit("wait")
    until(lambda: bench.jobs.get(other.id).progress)
    hold(bench, 0)
    job = bench.submit("each", n_iter=8)
    sampling(bench, 0)
    bench.jobs.cancel(other.id)
    until(lambda: len(bench.jobs.get(job.id).pictures) == 6)
    release(bench)
    has_each_picture_once(bench, bench.done(job), 8)
    assert sorted(map(len, makers(bench, job).values())) == [2, 6]


def test_progress_of_a_spread_job_is_that_of_all_its_parts(make_bench: MakeBench) -> None:
    bench = make_bench(TWO)
    both_ready(bench)
    hold(bench, 0)
    job = bench.submit("each", n_iter=4)
    until(lambda: len(bench.jobs.get(job.id).pictures) == 3)
    until(lambda: (progress := bench.jobs.get(job.id).progress) and progress.images_done == 3)
    progress = bench.jobs.get(job.id).progress
    assert progress is not None
    assert (progress.batch, progress.batches, progress.images) == (3, 4, 4)
    assert progress.progress == 0.75
    until(lambda: bench.jobs.preview(job.id) == b"of 0")
    release(bench)
    assert bench.done(job).state is JobState.DONE


@pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")
@pytest.mark.parametrize("fate", ["die", "half"])
def test_when_one_worker_of_a_spread_job_dies_only_its_part_is_made_again(make_bench: MakeBench, fate: str) -> None:
    bench = make_bench(MORTAL)
    both_ready(bench)
    (bench.folder / f"{fate}-1").touch()
    done = bench.done(bench.submit("each", n_iter=4))
    assert (done.state, done.attempts) == (JobState.DONE, 2), done.error
    has_each_picture_once(bench, done, 4)
    assert Counter(number for _, _, number in bench.made()) == {0: 1, 1: 2, 2: 1, 3: 1}
    assert any("started again" in notice for notice in done.notices)


@pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")
def test_what_a_living_worker_is_saving_stays_when_another_dies(make_bench: MakeBench) -> None:
    bench = make_bench(MORTAL)
    both_ready(bench)
    (bench.folder / "keep-0").touch()
    hold(bench, 1)
    job = bench.submit("each", n_iter=2)
    until(lambda: list((bench.folder / "outputs").rglob(f".{job.id}-0.tmp")))
    (bench.folder / "half-1").touch()
    release(bench)
    until(lambda: any("started again" in notice for notice in bench.jobs.get(job.id).notices))
    assert list((bench.folder / "outputs").rglob(f".{job.id}-0.tmp"))
    (bench.folder / "keep-0").unlink()
    done = bench.done(job)
    assert done.state is JobState.DONE
    has_each_picture_once(bench, done, 2)
    assert Counter(number for _, _, number in bench.made()) == {0: 1, 1: 2}


@pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")
def test_a_part_that_kills_its_worker_twice_fails_the_job_and_the_next_one_is_done(make_bench: MakeBench) -> None:
    bench = make_bench(MORTAL)
    both_ready(bench)
    (bench.folder / "poison-3").touch()
    hold(bench, 3)
    poison, good = bench.submit("each", n_iter=5), bench.submit("picture")
    until(lambda: {0, 1, 2} <= {picture.index for picture in bench.jobs.get(poison.id).pictures})
    release(bench)
    failed = bench.done(poison)
    assert (failed.state, failed.error_kind, failed.attempts) == (JobState.FAILED, "worker", 2)
    assert "at each of 2 attempts" in (failed.error or "")
    assert {0, 1, 2} <= {picture.index for picture in failed.pictures} <= {0, 1, 2, 4}
    assert Counter(number for _, _, number in bench.made())[3] == 2
    assert bench.done(good).state is JobState.DONE


@pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")
def test_all_workers_may_die_at_once(make_bench: MakeBench) -> None:
    bench = make_bench(MORTAL)
    both_ready(bench)
    hold(bench, 0, 1)
    job = bench.submit("each", n_iter=2)
    sampling(bench, 0, 1)
    for pid in bench.supervisor.pids:
        assert pid
        os.kill(pid, signal.SIGKILL)
    release(bench)
    done = bench.done(job)
    assert (done.state, done.attempts) == (JobState.DONE, 2), done.error
    has_each_picture_once(bench, done, 2)


def test_a_part_that_fails_ends_the_job_and_its_other_parts(make_bench: MakeBench) -> None:
    bench = make_bench(TWO)
    both_ready(bench)
    hold(bench, 0)
    (bench.folder / "fail-2").touch()
    job = bench.submit("each", n_iter=8)
    failed = bench.done(job)
    assert (failed.state, failed.error, failed.error_kind) == (JobState.FAILED, "Picture 2 cannot be.", "request")
    assert not bench.made()
    assert bench.done(bench.submit("picture")).state is JobState.DONE
    assert len(bench.worker_pids()) == 2, "nobody had to be ended"


@pytest.mark.parametrize("end", ["interrupt", "cancel"])
def test_an_interrupt_stops_every_part_and_keeps_what_exists(make_bench: MakeBench, end: str) -> None:
    bench = make_bench(TWO)
    both_ready(bench)
    hold(bench, 2, 3)
    job = bench.submit("each", n_iter=5)
    sampling(bench, 2, 3)
    until(lambda: len(bench.jobs.get(job.id).pictures) == 2)
    getattr(bench.jobs, end)(job.id)
    over = bench.done(job)
    assert over.state is (JobState.INTERRUPTED if end == "interrupt" else JobState.CANCELLED)
    has_each_picture_once(bench, over, 2)
    release(bench)
    assert bench.done(bench.submit("picture")).state is JobState.DONE
    assert len(bench.worker_pids()) == 2


def test_workers_that_do_not_stop_when_asked_twice_are_ended_by_force(make_bench: MakeBench) -> None:
    bench = make_bench(TWO)
    both_ready(bench)
    job = bench.submit("step deaf", n_iter=2)
    until(lambda: len(((running := bench.supervisor._jobs.running(job.id)) and running.parts) or ()) == 2)
    until(lambda: bench.jobs.cancel(job.id).state is JobState.CANCELLED)
    assert bench.done(job).state is JobState.CANCELLED
    assert bench.done(bench.submit("picture")).state is JobState.DONE


def test_skip_leaves_out_the_batch_that_is_shown(make_bench: MakeBench) -> None:
    bench = make_bench(TWO)
    both_ready(bench)
    hold(bench, 0, 1)
    job = bench.submit("each", n_iter=4)
    sampling(bench, 0, 1)
    bench.jobs.skip(job.id)
    until(lambda: {2, 3} <= {picture.index for picture in bench.jobs.get(job.id).pictures})
    release(bench)
    done = bench.done(job)
    assert done.state is JobState.DONE
    assert [picture.index for picture in done.pictures] == [1, 2, 3]


def test_closing_puts_a_spread_job_back_and_the_next_start_makes_the_rest(make_bench: MakeBench) -> None:
    bench = make_bench(TWO, file="queue.db")
    both_ready(bench)
    hold(bench, 2, 3)
    job = bench.submit("each", n_iter=6)
    sampling(bench, 2, 3)
    until(lambda: len(bench.jobs.get(job.id).pictures) >= 2)
    bench.jobs.close()
    release(bench)
    again = make_bench(TWO, file="queue.db")
    done = again.done(job)
    assert (done.state, done.attempts) == (JobState.DONE, 1)
    has_each_picture_once(again, done, 6)


def test_a_worker_that_cannot_start_leaves_the_work_to_the_others(make_bench: MakeBench) -> None:
    bench = make_bench("unstartable,thread")
    jobs = [bench.submit("each", n_iter=3), bench.submit("picture")]
    assert [bench.done(job).state for job in jobs] == [JobState.DONE] * 2
    until(lambda: len(bench.worker_pids()) == 4)
    until(lambda: bench.jobs.workers[0].state == "dead")
    assert bench.jobs.worker.state == "ready"
    assert "no such luck" in bench.jobs.worker.message
    assert bench.done(bench.submit("picture")).state is JobState.DONE
    assert len(bench.worker_pids()) == 4, "it is not tried again while there is another"


def test_what_waits_fails_once_no_worker_can_start(make_bench: MakeBench) -> None:
    bench = make_bench("unusable,unusable", start=False)
    job = bench.submit("picture")
    bench.jobs.start()
    failed = bench.done(job)
    assert (failed.state, failed.error_kind) == (JobState.FAILED, "worker")
    assert "Device cuda is not there" in (failed.error or "")


def test_a_job_goes_to_the_worker_that_has_its_model(make_bench: MakeBench) -> None:
    bench = make_bench(TWO)
    both_ready(bench)
    pids = bench.supervisor.pids

    def end_on(checkpoint: str) -> int:
        (pid,) = makers(bench, bench.done(submit(checkpoint)))
        return pids.index(pid)

    def submit(checkpoint: str) -> Job:
        return bench.submit("each", override_settings={"sd_model_checkpoint": checkpoint})

    hold(bench, 0)
    first = [submit("a"), submit("b")]
    until(lambda: all(bench.jobs.get(job.id).progress for job in first))
    release(bench)
    for job in first:
        bench.done(job)
    assert [end_on(name) for name in "babba"] == [1, 0, 1, 1, 0]
    assert end_on("c") == 0, "who has neither is taken in the order of the list"


def test_a_late_listener_hears_the_whole_story_of_a_spread_job(make_bench: MakeBench) -> None:
    async def story() -> list[int]:
        bench = make_bench(TWO)
        job = await asyncio.to_thread(bench.submit, "each", n_iter=6)
        await asyncio.to_thread(bench.done, job)
        told = []
        with bench.jobs.listen(after=0, job_id=job.id) as listener:
            async for event in listener:
                if event.kind == "picture":
                    told.append(event.data["index"])
                if event.kind == "job" and event.data.get("finished"):
                    return told
        raise AssertionError("unreachable")

    assert sorted(asyncio.run(story())) == list(range(6))


def test_many_jobs_from_many_clients_are_each_done_once(make_bench: MakeBench) -> None:
    bench = make_bench("thread,thread,thread")
    jobs: list[Job] = []

    def ask(jobs_: Jobs) -> None:
        jobs.extend(bench.submit("each", n_iter=1 + number % 3) for number in range(4))
        assert jobs_.worker

    clients = [threading.Thread(target=ask, args=(bench.jobs,)) for _ in range(5)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    for job in jobs:
        assert bench.done(job).state is JobState.DONE
    made = Counter((job_id, number) for _, job_id, number in bench.made())
    assert set(made.values()) == {1}
    assert len(made) == sum(job.request.n_iter for job in jobs)
    assert len(list(Path(bench.folder / "outputs").rglob("*.png"))) == len(made)
