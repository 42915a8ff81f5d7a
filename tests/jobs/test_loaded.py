"""A job goes to a worker that has its model, where there is one."""

from __future__ import annotations

import pytest

from modules.jobs import JobStore
from modules.jobs.loaded import Loaded, models
from modules.params import Img2ImgRequest, Settings, Txt2ImgRequest


def settings(checkpoint: str, vae: str = "Automatic", limit: int = 1) -> Settings:
    return Settings(sd_model_checkpoint=checkpoint, sd_vae=vae, sd_checkpoints_limit=limit)


def test_a_worker_that_has_checkpoint_and_vae_fits_better_than_one_with_the_checkpoint_alone() -> None:
    loaded = Loaded()
    assert loaded.is_empty
    assert loaded.fits(settings("a")) == 0
    loaded.note(settings("a", "x"))
    assert loaded.fits(settings("a", "x")) == 2
    assert loaded.fits(settings("a", "y")) == 1
    assert loaded.fits(settings("b", "x")) == 0
    loaded.clear()
    assert loaded.is_empty


@pytest.mark.parametrize(("limit", "fits"), [(1, [0, 0, 2]), (2, [0, 2, 2]), (3, [2, 2, 2])])
def test_what_must_make_room_is_gone(limit: int, fits: list[int]) -> None:
    loaded = Loaded()
    for name in "abc":
        loaded.note(settings(name, limit=limit))
    assert [loaded.fits(settings(name)) for name in "abc"] == fits


def test_a_checkpoint_has_one_vae_at_a_time() -> None:
    loaded = Loaded()
    loaded.note(settings("a", "x", limit=3))
    loaded.note(settings("a", "y", limit=3))
    assert loaded.fits(settings("a", "x")) == 1
    assert loaded.fits(settings("a", "y")) == 2


@pytest.mark.parametrize(
    ("request_", "names"),
    [
        (Txt2ImgRequest(), ["a"]),
        (Txt2ImgRequest(enable_hr=True, hr_checkpoint_name="h"), ["a", "h"]),
        (Txt2ImgRequest(enable_hr=False, hr_checkpoint_name="h"), ["a"]),
        (Txt2ImgRequest(refiner_checkpoint="r", refiner_switch_at=0.8), ["a", "r"]),
        (Txt2ImgRequest(refiner_checkpoint="None"), ["a"]),
        (Img2ImgRequest(refiner_checkpoint="r", refiner_switch_at=0.8), ["a", "r"]),
    ],
)
def test_what_a_job_loads_besides_is_known(request_: Txt2ImgRequest | Img2ImgRequest, names: list[str]) -> None:
    chosen = settings("a")
    job = JobStore(None).add(request_.model_copy(update={"seed": 1}), chosen)
    assert [name for name, _ in models(chosen, job)] == names
