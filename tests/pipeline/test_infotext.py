"""What a picture's text says, before there is a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace

import pytest

from modules.params import parse_infotext
from modules.pipeline import Plan
from modules.pipeline.infotext import Made, describe_picture

Planner = Callable[..., Plan]


def told(plan: Plan) -> Mapping[str, str]:
    """The fields of the text of the plan's first picture."""
    digits: Future[str] = Future()
    digits.set_result("0123456789")
    made = Made(networks=(), hashes={plan.first.checkpoint.path: digits})
    return parse_infotext(describe_picture(plan, plan.batches[0], 0, made)).fields


def test_a_checkpoint_in_a_sub_folder_is_named_by_its_stem(make_plan: Planner) -> None:
    # I012
    plan = make_plan()
    below = replace(plan.first.checkpoint, relative=f"anime/{plan.first.checkpoint.relative}")
    assert told(replace(plan, first=replace(plan.first, checkpoint=below)))["Model"] == "tiny_sd1"


@pytest.mark.parametrize("sampler", ["DDIM", "DDIM CFG++", "PLMS", "UniPC"])
def test_the_schedule_asked_for_is_told_though_a_timestep_sampler_walks_none(make_plan: Planner, sampler: str) -> None:
    # I012: and none of its numbers
    numbers = {"sigma_min": 0.1, "sigma_max": 9.0, "rho": 3.0}
    fields = told(make_plan(sampler_name=sampler, scheduler="Karras", settings=numbers))
    assert fields["Schedule type"] == "Karras"
    assert not fields.keys() & {"Schedule min sigma", "Schedule max sigma", "Schedule rho"}
    assert told(make_plan(sampler_name=sampler))["Schedule type"] == "Automatic"


@pytest.mark.parametrize(
    ("first", "hires", "expected"),
    [
        (("DDIM", "Karras"), ("Euler", ""), "Karras"),
        (("DDIM", "Karras"), ("Euler", "Automatic"), "Automatic"),
        (("DDIM", "Automatic"), ("Euler", ""), None),
        (("DDIM", "Karras"), ("", "Simple"), None),
        (("Euler", "Karras"), ("DDIM", "Simple"), None),
        (("Euler", "Karras"), ("Euler a", ""), None),
        (("Euler", "Karras"), ("Euler a", "Automatic"), "Automatic"),
    ],
)
def test_the_schedule_of_the_second_stage_is_told_where_it_is_another_that_is_walked(
    make_plan: Planner, first: tuple[str, str], hires: tuple[str, str], expected: str | None
) -> None:
    # I013
    names = dict(zip(("sampler_name", "scheduler", "hr_sampler_name", "hr_scheduler"), first + hires, strict=True))
    assert told(make_plan(enable_hr=True, **names)).get("Hires schedule type") == expected
