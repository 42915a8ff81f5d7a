"""A job is divided between batches, never within one, and nothing of it is lost or made twice."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from modules.jobs import Job, JobState, Picture
from modules.jobs.shares import Numbering, Share, owed
from modules.params import Img2ImgRequest, Settings, Txt2ImgRequest


def job_with(request: Txt2ImgRequest | Img2ImgRequest, *made: int, attempts: int = 1, **settings: object) -> Job:
    pictures = tuple(
        Picture(job_id="a", index=index, path=Path("x"), seed=1, infotext="", width=8, height=8) for index in made
    )
    return Job(
        id="a",
        task=request.task,
        state=JobState.RUNNING,
        attempts=attempts,
        created=0,
        request=request,
        settings=Settings(**settings),
        pictures=pictures,
    )


def all_cuts(share: Share, workers: int) -> list[Share]:
    cuts = []
    rest: Share | None = share
    while rest is not None:
        cut, rest = rest.cut(workers)
        cuts.append(cut)
    return cuts


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 100])
def test_cut_up_a_share_is_the_same_batches_in_the_same_order(workers: int, count: int) -> None:
    share = owed(job_with(Txt2ImgRequest(batch_size=2, n_iter=count), attempts=3))
    cuts = all_cuts(share, workers)
    assert [batch for cut in cuts for batch in cut.batches] == list(share.batches)
    assert {cut.attempt for cut in cuts} == {3}
    sizes = [len(cut.batches) for cut in cuts]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == (count if workers == 1 else 1)
    assert len(cuts) >= min(workers, count)


def test_one_worker_has_the_whole_in_one_go() -> None:
    share = owed(job_with(Txt2ImgRequest(n_iter=50)))
    assert share.cut(1) == (share, None)


def test_only_batches_that_lack_something_are_owed() -> None:
    job = job_with(Txt2ImgRequest(batch_size=2, n_iter=3), 0, 1, 2)
    assert owed(job).pictures == (2, 3, 4, 5)
    assert owed(job_with(Txt2ImgRequest(n_iter=2), 0, 1)).batches == ()


def test_a_batch_whose_mask_is_missing_is_owed() -> None:
    request = Img2ImgRequest(init_images=("a",), mask="b", n_iter=2)
    assert owed(job_with(request, 0, 1, 2, return_mask=True)).pictures == (1,)
    assert owed(job_with(request, 0, 1, 2, 3, return_mask=True)).pictures == ()
    assert owed(job_with(request, 0, 1)).pictures == ()


def test_the_numbers_of_a_part_are_those_of_its_pictures_and_their_masks() -> None:
    request = Img2ImgRequest(init_images=("a",), mask="b", n_iter=3)
    both = job_with(request, return_mask=True, return_mask_composite=True)
    assert Numbering.of(both).with_besides([1]) == {1, 5, 6}
    assert Numbering.of(job_with(request)).with_besides([1, 2]) == {1, 2}


def test_a_job_of_very_many_batches_is_divided_at_once() -> None:
    job = job_with(Img2ImgRequest(init_images=("a",), mask="b", n_iter=10_000), return_mask=True)
    began = time.process_time()
    assert len(owed(job).batches) == 10_000
    assert time.process_time() - began < 0.5


def test_a_share_made_again_is_counted() -> None:
    share = Share((range(2),))
    assert share.again() == Share((range(2),), attempt=2)
