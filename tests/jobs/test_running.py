"""The parts of a job are told of as one."""

from __future__ import annotations

import pytest

from modules.jobs import Job, JobState, JobStore
from modules.jobs.messages import StepDone
from modules.jobs.running import Outcome, Running
from modules.params import Settings, Txt2ImgRequest

FAILED = Outcome(JobState.FAILED, "no", "request")


def running(n_iter: int = 4, **settings: object) -> Running:
    store = JobStore(None)
    store.add(Txt2ImgRequest(seed=1, n_iter=n_iter, batch_size=2), Settings(**settings))
    job = store.start_next()
    assert isinstance(job, Job)
    return Running.of(job)


def said(step: int, batch: int = 0, batches: int = 1) -> StepDone:
    return StepDone(job_id="a", batch=batch, batches=batches, step=step, steps=4, images_done=7, images=8)


def test_a_job_that_one_worker_has_is_told_as_that_says() -> None:
    job = running()
    part = job.take(0, workers=1)
    assert job.message(part).only is None
    progress = job.hear(0, said(2, batch=1, batches=4))
    assert (progress.batch, progress.batches, progress.step, progress.images_done) == (1, 4, 2, 7)
    assert progress.progress == pytest.approx(1.5 / 4)


def test_a_batch_is_told_as_skipped_until_the_next_one_begins() -> None:
    job = running()
    job.take(0, workers=1)
    job.skip()  # nothing is shown yet that could be
    assert not job.hear(0, said(1, batch=1, batches=4)).is_skipped
    job.skip()
    assert job.progress is not None and job.progress.is_skipped
    assert job.hear(0, said(2, batch=1, batches=4)).is_skipped
    assert not job.hear(0, said(0, batch=2, batches=4)).is_skipped
    assert "is_skipped" not in job.progress.model_dump()


def test_where_spreading_is_switched_off_one_worker_has_it_all() -> None:
    job = running(spread_images=False)
    assert job.take(0, workers=5).is_whole
    assert not job.waiting


def test_parts_are_whole_batches_and_together_the_job() -> None:
    job = running()
    parts = [job.take(worker, workers=2) for worker in range(4)]
    assert [job.message(part).only for part in parts] == [(0, 1), (2, 3), (4, 5), (6, 7)]
    assert not job.waiting


def test_progress_joins_the_parts_and_never_goes_back() -> None:
    job = running()
    job.take(0, workers=2)
    job.take(1, workers=2)
    shares = [job.hear(0, said(0)), job.hear(1, said(4)), job.hear(0, said(2)), job.hear(0, said(4))]
    assert [progress.progress for progress in shares] == pytest.approx([0, 0.25, 0.375, 0.5])
    assert [progress.step for progress in shares] == [0, 0, 2, 4]
    assert {progress.batches for progress in shares} == {4}
    job.note([0, 1, 8])
    job.note([1])
    job.finish(0, was_cut=False)
    job.take(0, workers=2)
    later = job.hear(0, said(0))
    assert later.progress == pytest.approx(0.5)
    assert (later.batch, later.images_done) == (2, 2)
    assert later.eta is not None


def test_a_preview_of_the_first_part_alone_is_shown() -> None:
    job = running()
    job.take(0, workers=2)
    job.take(1, workers=2)
    job.hear(1, said(1))
    assert job.show(1, b"second")
    job.hear(0, said(1))
    assert not job.show(1, b"second again")
    assert job.show(0, b"first")
    assert job.preview == b"first"
    job.finish(0, was_cut=False)
    assert job.show(1, b"second")


@pytest.mark.parametrize(
    ("was_cut", "wanted", "state"),
    [
        (False, None, JobState.DONE),
        (False, JobState.CANCELLED, JobState.DONE),
        (True, JobState.CANCELLED, JobState.CANCELLED),
        (True, None, JobState.INTERRUPTED),
    ],
)
def test_a_job_ends_as_it_was_asked_to_if_anything_is_missing(
    was_cut: bool, wanted: JobState | None, state: JobState
) -> None:
    job = running(n_iter=1)
    job.take(0, workers=1)
    if wanted is not None:
        job.stop(wanted)
    job.finish(0, was_cut=was_cut)
    assert job.end == Outcome(state)


def test_what_waits_is_not_begun_once_the_job_is_to_stop() -> None:
    job = running()
    job.take(0, workers=2)
    job.stop(JobState.INTERRUPTED)
    assert not job.waiting
    job.finish(0, was_cut=False)
    assert job.end == Outcome(JobState.INTERRUPTED)


def test_the_first_failure_is_the_reason() -> None:
    job = running()
    job.take(0, workers=2)
    job.take(1, workers=2)
    job.fail(FAILED)
    job.fail(Outcome(JobState.FAILED, "another"))
    assert not job.waiting
    assert job.end == FAILED


def test_the_part_of_a_dead_worker_is_the_next_to_be_made_and_the_attempt_is_counted() -> None:
    job = running()
    part = job.take(0, workers=2)
    job.take(1, workers=2)
    job.give_back(0)
    again = job.take(1, workers=2)
    assert (again.share.pictures, again.share.attempt) == (part.share.pictures, 2)
    assert job.take(0, workers=2).share.attempt == 1


def test_the_part_of_a_dead_worker_is_not_made_again_once_the_job_is_to_stop() -> None:
    job = running(n_iter=1)
    job.take(0, workers=1)
    job.stop(JobState.CANCELLED)
    job.give_back(0)
    assert not job.waiting
    assert job.end == Outcome(JobState.CANCELLED)
