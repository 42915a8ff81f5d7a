"""What pictures are told: from a request's texts to the prompts of each stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from modules.models import Model
from modules.params import Settings, make_request, parse_infotext
from modules.pipeline import Plan, plan
from modules.prompt import ParsedPrompt, Style

from .conftest import MODEL, Person, Worker

Planner = Callable[..., Plan]
Drawer = Callable[..., Person]


def first(plan: Plan) -> ParsedPrompt:
    return plan.batches[0].first.prompts[0]


def names(plan: Plan) -> list[tuple[str, float]]:
    return [(use.name, use.unet) for use in plan.batches[0].first.networks]


def test_a_second_order_samplers_schedules_count_both_calls_of_a_step(make_plan: Planner) -> None:
    # P033: [a:b:10] at 20 steps switches at a quarter of the picture
    ends = {
        sampler: [
            entry.until for entry in first(make_plan(prompt="[a:b:10]", steps=20, sampler_name=sampler)).parts[0][1]
        ]
        for sampler in ("Euler", "Heun")
    }
    assert ends == {"Euler": [10, 20], "Heun": [10, 40]}


def test_the_second_stages_prompts_go_on_where_the_first_ones_ended(make_plan: Planner) -> None:
    # P038
    made = make_plan(prompt="[a:b:12] [c:d:1.5]", steps=10, enable_hr=True)
    hires = made.batches[0].hires
    assert hires is not None
    assert [(entry.until, entry.text) for entry in hires.prompts[0].parts[0][1]] == [
        (2, "a c"),
        (5, "b c"),
        (10, "b d"),
    ]


def test_old_timelines_restart_in_each_stage_and_are_told_only_where_they_matter(make_plan: Planner) -> None:
    # P038
    old = {"use_old_scheduling": True}
    assert make_plan(prompt="[a:b:1.0]", settings=old).prompting.old_schedules
    assert not make_plan(prompt="[a:b:0.5]", settings=old).prompting.old_schedules
    assert not make_plan(prompt="[a:b:1.0]").prompting.old_schedules


def test_styles_go_into_the_hires_prompts_too(worker: Worker) -> None:
    # P071
    fields = {"prompt": "cat", "hr_prompt": "dog", "hr_negative_prompt": "bad", "styles": ("ink",), "enable_hr": True}
    styles = {"ink": Style("ink", "{prompt}, ink", "colour")}
    settings = Settings(sd_model_checkpoint=MODEL.stem)
    made = plan(make_request({**fields, "seed": 1}), settings, worker.catalogue, worker.tokenizer, styles=styles)
    (batch,) = made.batches
    assert batch.hires is not None
    assert (batch.first.prompts[0].text, batch.first.negatives[0].text) == ("cat, ink", "colour")
    assert (batch.hires.prompts[0].text, batch.hires.negatives[0].text) == ("dog, ink", "bad, colour")


def test_a_hires_prompt_has_networks_of_its_own(make_plan: Planner) -> None:
    # P062
    (batch,) = make_plan(prompt="a <lora:lin:0.5>", hr_prompt="a <lora:loha:0.7>", enable_hr=True).batches
    assert batch.hires is not None
    assert [use.name for use in batch.first.networks] == ["lin"]
    assert [use.name for use in batch.hires.networks] == ["loha"]


def test_the_settings_networks_are_added_to_every_prompt_that_does_not_name_them(make_plan: Planner) -> None:
    # P061
    settings = {"sd_lora": "lin", "sd_hypernetwork": "h_relu4", "extra_networks_default_multiplier": 0.5}
    made = make_plan(prompt="a cat", settings=settings)
    assert names(made) == [("lin", 0.5), ("h_relu4", 0.5)]
    assert first(made).text == "a cat<lora:lin:0.5><hypernet:h_relu4:0.5>"
    assert list(first(made).texts()) == ["a cat"]
    assert made.batches[0].first.negatives[0].tags == ()
    assert names(make_plan(prompt="a cat <lora:lin:0.2>", settings=settings)) == [("lin", 0.2), ("h_relu4", 0.5)]
    assert names(make_plan(prompt="a cat")) == []


def test_a_request_can_leave_networks_out_and_tags_are_taken_out_all_the_same(make_plan: Planner) -> None:
    # P063
    made = make_plan(prompt="a <lora:lin:1>cat", disable_extra_networks=True, settings={"sd_lora": "loha"})
    assert names(made) == []
    assert list(first(made).texts()) == ["a cat"]


def test_with_a_variation_the_subseed_counts_up_instead_of_the_seed(make_plan: Planner) -> None:
    # P003
    plain = make_plan(seed=5, subseed=7, batch_size=2, n_iter=2)
    varied = make_plan(seed=5, subseed=7, subseed_strength=0.1, batch_size=2, n_iter=2)
    assert [batch.seeds for batch in plain.batches] == [(5, 6), (7, 8)]
    assert [batch.seeds for batch in varied.batches] == [(5, 5), (5, 5)]
    assert [batch.subseeds for batch in varied.batches] == [(7, 8), (9, 10)]


def test_a_network_that_is_missing_is_told_and_the_others_stay(make_plan: Planner) -> None:
    # P056, P059
    made = make_plan(prompt="a <lora:nowhere:1><lora:lin:abc><lora:loha:0.5><hypernet:h_relu4>")
    assert names(made) == [("loha", 0.5), ("h_relu4", 1.0)]
    assert len(made.notices) == 2


def test_the_same_network_twice_is_there_twice(make_plan: Planner) -> None:
    # P060: that the two add is held in test_generate
    assert names(make_plan(prompt="a <lora:lin:0.5> <lora:lin:0.5>")) == [("lin", 0.5), ("lin", 0.5)]


def test_words_of_both_prompts_are_found_and_their_hashes_shown(draw: Drawer) -> None:
    # P093
    text = draw(prompt="a tipt3", negative_prompt="tisafe").pictures[0].infotext
    hashes = parse_infotext(text).fields["TI hashes"]
    assert [pair.split(": ")[0] for pair in hashes.split(", ")] == ["tipt3", "tisafe"]
    assert all(len(pair.split(": ")[1]) == 12 for pair in hashes.split(", "))


def test_comments_are_left_out_of_every_prompt_unless_the_setting_is_off(make_plan: Planner) -> None:
    # P073
    fields: dict[str, Any] = {
        "prompt": "cat # a",
        "negative_prompt": "dog # b",
        "hr_prompt": "ox # c",
        "enable_hr": True,
    }
    (batch,) = make_plan(**fields).batches
    assert batch.hires is not None
    told = [*batch.first.prompts, *batch.first.negatives, *batch.hires.prompts, *batch.hires.negatives]
    assert [prompt.text for prompt in told] == ["cat \n", "dog \n", "ox \n", "dog \n"]
    assert first(make_plan(**fields, settings={"enable_prompt_comments": False})).text == "cat # a"


def test_the_old_way_of_emphasis_says_which_words_it_cuts_off(draw: Drawer) -> None:
    # P024
    person = draw(prompt="cat " * 75 + "(dog)", settings={"use_old_emphasis_implementation": True})
    assert any(notice.endswith("this was cut off: dog") for notice in person.notices)
    assert len(person.pictures) == 1


@contextmanager
def encoded(model: Model) -> Iterator[list[int]]:
    """How many rows the text encoder read."""
    rows: list[int] = []
    handle = model.text_encoder.encoder.layers[0].register_forward_hook(lambda *_: rows.append(1))
    try:
        yield rows
    finally:
        handle.remove()


def test_a_second_picture_with_the_same_words_encodes_nothing(draw: Drawer, model: Model) -> None:
    # E002
    fields = {"prompt": "a [cat|dog] in a (hat:1.2) tipt3", "negative_prompt": "wet"}
    with encoded(model) as rows:
        draw(**fields)
        assert rows
        rows.clear()
        draw(**fields, seed=2, steps=3, width=96)
        draw(prompt="a dog in a (hat:0.5) tipt3", negative_prompt="wet", settings={"emphasis": "No norm"})
        assert not rows


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "a cat <lora:lin:1>"},
        {"prompt": "a cat <lora:lin:1:0>"},
        {"negative_prompt": "a <lora:lin:1>"},
        {"settings": {"CLIP_stop_at_last_layers": 2}},
        {"prompt": "a (cat:1.5)"},
        {"settings": {"sd_lora": "lin"}},
    ],
    ids=str,
)
def test_no_picture_is_that_of_words_that_were_encoded_otherwise(
    change: dict[str, Any], draw: Drawer, worker: Worker
) -> None:
    # E002, P059: whatever was encoded before, and the other way round
    def drawn(**fields: Any) -> np.ndarray:
        given = {"prompt": "a cat", "negative_prompt": "a", "sampler_name": "Euler", **fields}
        return np.asarray(draw(**given).pictures[0].image)

    worker.conditionings.clear()
    plain, changed, plain_again = drawn(), drawn(**change), drawn()
    worker.conditionings.clear()
    changed_first = drawn(**change)
    assert np.array_equal(plain, plain_again) and np.array_equal(changed, changed_first)
    assert not np.array_equal(plain, changed)
