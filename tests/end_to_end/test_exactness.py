"""What a job did leaves no trace in the next one, and a batch is nothing but its pictures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from .conftest import Json, Program

EVERYTHING = (
    "a ti cat <lora:lin:0.8:1.1><lora:locon:-0.7><lora:loha:0.5><lora:lokr:1><lora:dora:0.9>"
    "<lora:oft_diag:1><lora:norm:1><lora:bundle:1><hypernet:h_relu4:0.8><hypernet:h_swish:1>"
)
AGAINST = "tipt3 <lora:lin:1><lora:dora:1><hypernet:h_mish_out:1>"

Disturb = Callable[[Program], None]


def networks(shared: Program) -> None:
    job = shared.make(EVERYTHING, negative_prompt=AGAINST)
    assert job["notices"] == []


def another_checkpoint(shared: Program) -> None:
    shared.make("an apple <lora:lin:1>", override_settings={"sd_model_checkpoint": "tagbrush-mini"})


def clip_skip(shared: Program) -> None:
    shared.make(EVERYTHING, override_settings={"CLIP_stop_at_last_layers": 2, "emphasis": "No norm"})


def a_failure_after_sampling(shared: Program) -> None:
    blocked = shared.data / "outputs" / "a file"
    blocked.touch()
    job = shared.end(shared.submit(EVERYTHING, override_settings={"outdir_txt2img_samples": "outputs/a file"}))
    assert job["state"] == "failed"
    assert "a file" in job["error"]


def a_failure_while_sampling(shared: Program) -> None:
    job = shared.end(shared.submit(f"{EVERYTHING}<lora:lin:1e30>"))
    assert job["state"] == "failed"
    assert "not numbers" in job["error"]


def an_interruption(shared: Program) -> None:
    job_id = shared.submit(EVERYTHING, negative_prompt=AGAINST, steps=5000)
    shared.running(job_id, step=2)
    shared.post(f"/tagbrush/v1/jobs/{job_id}/interrupt")
    assert shared.end(job_id)["state"] == "interrupted"


def a_cancellation(shared: Program) -> None:
    job_id = shared.submit(EVERYTHING, steps=5000)
    shared.running(job_id)
    shared.http.delete(f"/tagbrush/v1/jobs/{job_id}")
    assert shared.end(job_id)["state"] == "cancelled"


@pytest.mark.parametrize(
    "disturb",
    [
        networks,
        another_checkpoint,
        clip_skip,
        a_failure_after_sampling,
        a_failure_while_sampling,
        an_interruption,
        a_cancellation,
    ],
)
def test_a_plain_picture_is_the_same_file_before_and_after(shared: Program, disturb: Disturb) -> None:
    before = shared.files(shared.make("a cat", negative_prompt="a dog"))
    disturb(shared)
    assert shared.files(shared.make("a cat", negative_prompt="a dog")) == before


def test_the_same_networks_make_the_same_file_on_every_run(shared: Program) -> None:
    first = shared.files(shared.make(EVERYTHING, negative_prompt=AGAINST))
    assert shared.files(shared.make(EVERYTHING, negative_prompt=AGAINST)) == first


def test_the_same_lora_twice_adds_on_every_run(shared: Program) -> None:
    whole = shared.pixels(shared.make("a cat <lora:lin:1>"))[0]
    for _ in range(2):
        halves = shared.pixels(shared.make("a cat <lora:lin:0.5><lora:lin:0.5>"))[0]
        assert np.abs(halves - whole).max() <= 1


def test_a_weight_of_nothing_is_nothing(shared: Program) -> None:
    assert (
        shared.pixels(shared.make("a cat <lora:lin:0><hypernet:h_relu4:0>"))[0]
        == shared.pixels(shared.make("a cat "))[0]
    ).all()


SLOWLY = [pytest.param(sampler, marks=pytest.mark.slow) for sampler in ("Euler", "DPM++ 2M", "LCM")]


@pytest.mark.parametrize("sampler", ["Euler a", "DPM++ 2M SDE", "DDIM", *SLOWLY])
def test_each_picture_of_a_batch_equals_its_seed_alone(shared: Program, sampler: str) -> None:
    fields = {"prompt": "a ti cat <lora:lin:1>", "negative_prompt": "<hypernet:h_swish:1>", "sampler_name": sampler}
    together = shared.make(**fields, seed=40, batch_size=3)
    one_by_one = shared.make(**fields, seed=40, n_iter=3)
    for job in (together, one_by_one):
        assert [picture["seed"] for picture in job["pictures"]] == [40, 41, 42]
    for index, (picture, other) in enumerate(zip(shared.pixels(together), shared.pixels(one_by_one), strict=True)):
        alone = shared.make(**fields, seed=40 + index)
        assert np.abs(picture - shared.pixels(alone)[0]).max() <= 1
        assert np.abs(other - shared.pixels(alone)[0]).max() <= 1
        assert infotext(alone) == infotext(together, index)


def test_each_picture_of_an_img2img_batch_equals_its_seed_alone(shared: Program) -> None:
    start = shared.http.post("/tagbrush/v1/inputs", content=shared.files(shared.make("a dog"))[0]).json()["id"]
    together = shared.make(init_images=[start], seed=40, batch_size=3)
    for index, picture in enumerate(shared.pixels(together)):
        alone = shared.make(init_images=[start], seed=40 + index)
        assert np.abs(picture - shared.pixels(alone)[0]).max() <= 1


def infotext(job: Json, index: int = 0) -> str:
    return job["pictures"][index]["infotext"]
