"""The second stage of hires fix: the same steps again, from the enlarged picture of the first."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from modules.models import NotANumber
from modules.params import BadRequest, UnknownName, parse_infotext
from modules.pipeline import Plan
from modules.pipeline.bench import Bench
from modules.pipeline.hires import cut_to_size

from .conftest import Person, Worker

Drawer = Callable[..., Person]
Planner = Callable[..., Plan]
HIRES = {"enable_hr": True, "hr_scale": 1.5, "hr_upscaler": "Lanczos", "denoising_strength": 0.6}
pytestmark = pytest.mark.usefixtures("weights_stay")


def pixels(person: Person) -> list[np.ndarray]:
    return [np.asarray(picture.image) for picture in person.pictures]


def distance(one: Person, other: Person) -> float:
    return float(np.abs(pixels(one)[0].astype(float) - pixels(other)[0].astype(float)).mean())


class TestPlan:
    def test_what_the_request_leaves_open_is_as_in_the_first_stage(self, make_plan: Planner) -> None:
        # U003
        made = make_plan(**HIRES, sampler_name="DPM++ 2M", steps=7)
        assert made.hires is not None
        stage = made.hires.stage
        assert (stage.sampler, stage.schedule, stage.steps) == ("DPM++ 2M", "Karras", 7)
        assert (stage.checkpoint, stage.vae) == (made.first.checkpoint, made.first.vae)
        assert made.batches[0].hires == made.batches[0].first

    def test_what_the_request_says_is_its_own(self, make_plan: Planner) -> None:
        made = make_plan(
            **HIRES,
            hr_sampler_name="DPM++ 2M SDE",
            hr_scheduler="Simple",
            hr_second_pass_steps=3,
            hr_checkpoint_name="tiny_refiner",
            hr_prompt="a dog <lora:loha:1>",
            prompt="a cat <lora:lin:1>",
        )
        assert made.hires is not None
        assert made.batches[0].hires is not None
        stage = made.hires.stage
        assert (stage.sampler, stage.schedule, stage.steps) == ("DPM++ 2M SDE", "Simple", 3)
        assert stage.checkpoint.name == "tiny_refiner"
        assert [use.name for use in made.batches[0].first.networks] == ["lin"]
        assert [use.name for use in made.batches[0].hires.networks] == ["loha"]

    def test_numbers_in_its_prompts_go_on_from_the_first_stage(self, make_plan: Planner) -> None:
        # P038
        (batch,) = make_plan(**HIRES, prompt="[a:b:12] [c:d:1.5]", steps=10).batches
        assert batch.hires is not None
        ((_, entries),) = batch.hires.prompts[0].parts
        assert [(entry.until, entry.text) for entry in entries] == [(2, "a c"), (5, "b c"), (10, "b d")]

    def test_the_old_timelines_are_told_only_where_they_differ(self, make_plan: Planner) -> None:
        # P038
        old = {"use_old_scheduling": True}
        assert make_plan(settings=old, prompt="[a:b:1.0]").prompting.old_schedules
        assert not make_plan(settings=old, prompt="[a:b:0.5]").prompting.old_schedules
        assert make_plan(settings=old, **HIRES, prompt="[a:b:0.5]").prompting.old_schedules

    @pytest.mark.parametrize(
        ("asked", "enlarged", "kept"),
        [
            ({"hr_scale": 1.55}, (111, 136), (104, 136)),
            ({"hr_resize_x": 120}, (120, 146), (120, 144)),
            ({"hr_resize_y": 160}, (130, 160), (128, 160)),
            ({"hr_resize_x": 96, "hr_resize_y": 160}, (130, 160), (96, 160)),
            ({"hr_resize_x": 160, "hr_resize_y": 96}, (160, 195), (160, 96)),
        ],
    )
    def test_a_size_is_by_scale_or_by_sides_and_cut_to_both(
        self, make_plan: Planner, asked: dict[str, Any], enlarged: tuple[int, int], kept: tuple[int, int]
    ) -> None:
        # U003: whole latents, trap 25
        hires = make_plan(**HIRES | asked, width=72, height=88).hires
        assert hires is not None
        assert (hires.width, hires.height) == enlarged
        assert (hires.stage.width, hires.stage.height) == kept

    def test_too_large_a_picture_is_refused(self, make_plan: Planner) -> None:
        with pytest.raises(BadRequest, match="9600x9600"):
            make_plan(**HIRES | {"hr_scale": 16}, width=600, height=600)

    def test_an_unknown_upscaler_is_refused(self, make_plan: Planner) -> None:
        # U004
        with pytest.raises(UnknownName, match=r'"Lanczoz".*Did you mean "Lanczos"'):
            make_plan(**HIRES | {"hr_upscaler": "Lanczoz"})

    def test_an_unknown_checkpoint_is_refused(self, make_plan: Planner) -> None:
        with pytest.raises(UnknownName, match="Hires checkpoint"):
            make_plan(**HIRES, hr_checkpoint_name="tiny_refinery")


def test_what_hangs_over_is_cut_off_evenly(make_plan: Planner) -> None:
    hires = make_plan(**HIRES | {"hr_resize_x": 64, "hr_resize_y": 120}).hires
    assert hires is not None
    latents = torch.arange(15.0).expand(1, 4, 15, 15)
    assert cut_to_size(latents, hires)[0, 0, 0].tolist() == list(range(3, 11))


class TestStory:
    def test_progress_counts_the_steps_of_both_stages(self, draw: Drawer) -> None:
        person = draw(**HIRES, steps=2, hr_second_pass_steps=3)
        assert [figures[2:4] for figures in person.steps] == [(0, 5), (1, 5), (2, 5), (2, 5), (3, 5), (4, 5), (5, 5)]
        assert person.pictures[0].image.size == (96, 96)
        assert person.pictures[0].is_complete

    @pytest.mark.parametrize("asked", ["interrupt_at", "skip_at"])
    def test_stopped_before_it_the_picture_is_the_first_stages(self, draw: Drawer, asked: str) -> None:
        # U004
        whole = draw(steps=2)
        person = draw(Person(**{asked: (0, 2)}), **HIRES, steps=2)
        assert np.array_equal(pixels(person)[0], pixels(whole)[0])
        assert not person.pictures[0].is_complete

    def test_stopped_within_it_the_picture_is_what_the_model_saw_last(self, draw: Drawer) -> None:
        person = draw(Person(interrupt_at=(0, 3)), **HIRES, steps=2)
        assert person.pictures[0].image.size == (96, 96)
        assert not person.pictures[0].is_complete

    @pytest.mark.parametrize("upscaler", ["Latent (nearest-exact)", "Lanczos"])
    def test_pictures_of_a_batch_are_those_of_their_seeds_alone(
        self, draw: Drawer, latents: list[torch.Tensor], upscaler: str
    ) -> None:
        # U011
        asked = HIRES | {"hr_upscaler": upscaler, "sampler_name": "Euler a"}
        draw(**asked, seed=5, batch_size=2)
        of_batch = latents[-1].clone()
        latents.clear()
        draw(**asked, seed=6)
        torch.testing.assert_close(of_batch, latents[-1], rtol=0, atol=0.05)

    def test_a_picture_given_in_its_place_is_the_first_stages(
        self, draw: Drawer, worker: Worker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # U005: hires fix of a picture that is there already
        buffer = io.BytesIO()
        draw(steps=2).pictures[0].image.save(buffer, "PNG")
        monkeypatch.setattr(Worker, "read_input", lambda worker, name: buffer.getvalue())
        again = draw(**HIRES, steps=2, firstpass_image="x")
        assert np.array_equal(pixels(again)[0], pixels(draw(**HIRES, steps=2))[0])
        assert [figures[2:4] for figures in again.steps] == [(0, 2), (1, 2), (2, 2)]

    @pytest.mark.parametrize("upscaler", ["Latent", "None"])
    def test_that_picture_may_be_of_another_size_and_serve_a_whole_batch(self, draw: Drawer, upscaler: str) -> None:
        asked = HIRES | {"hr_upscaler": upscaler}
        person = draw(**asked, firstpass_image="inputs/init200x120.png", batch_size=2, seed=3)
        assert [picture.image.size for picture in person.pictures] == [(96, 96), (96, 96)]
        assert not np.array_equal(*pixels(person))

    def test_its_own_networks_act_in_it(self, draw: Drawer) -> None:
        # P062
        plain = draw(**HIRES)
        assert distance(draw(**HIRES, hr_prompt="a cat <lora:lin:0>"), plain) == 0
        changed = draw(**HIRES, hr_prompt="a cat <lora:lin:1>")
        assert distance(changed, plain) > 1
        assert parse_infotext(changed.pictures[0].infotext).fields["Lora hashes"].startswith("lin:")

    def test_its_prompts_may_be_read_with_the_networks_of_the_first_stage(self, draw: Drawer) -> None:
        # P062: what acts on the UNet is its own still
        asked = HIRES | {"prompt": "a cat <lora:lin:1:0>", "hr_prompt": "a cat"}
        first_conds = {"hires_fix_use_firstpass_conds": True}
        with_those = draw(**asked, settings=first_conds)
        assert distance(with_those, draw(**asked)) > 0
        on_the_text_too = asked | {"hr_prompt": "a cat <lora:lin:1:0>"}
        assert distance(with_those, draw(**on_the_text_too)) == 0

    def test_its_checkpoint_and_sampler_are_in_the_text(self, draw: Drawer) -> None:
        person = draw(**HIRES, hr_checkpoint_name="tiny_refiner", hr_sampler_name="DPM++ 2M", hr_scheduler="Simple")
        fields = parse_infotext(person.pictures[0].infotext).fields
        assert fields["Hires checkpoint"] == "tiny_refiner [0dfbbba5d3]"
        assert (fields["Hires sampler"], fields["Hires schedule type"]) == ("DPM++ 2M", "Simple")

    def test_a_first_stage_that_overflows_is_said_before_the_second(
        self, draw: Drawer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # R004
        calls = []

        def overflowing(bench: Bench, x: torch.Tensor, timestep: float, context: object) -> torch.Tensor:
            calls.append(timestep)
            return x * torch.nan

        monkeypatch.setattr(Bench, "predict", overflowing)
        with pytest.raises(NotANumber, match="not numbers"):
            draw(**HIRES | {"hr_upscaler": "Latent"}, steps=2)
        assert len(calls) == 2

    @pytest.mark.parametrize("upscaler", ["Latent", "Nearest"])
    def test_an_inpainting_model_makes_both_stages(self, draw: Drawer, upscaler: str) -> None:
        settings = {"sd_model_checkpoint": "tiny_inpaint"}
        asked = HIRES | {"hr_upscaler": upscaler, "hr_resize_x": 96, "hr_resize_y": 128}
        assert draw(**asked, settings=settings).pictures[0].image.size == (96, 128)
