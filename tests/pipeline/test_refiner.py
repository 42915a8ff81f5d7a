"""A refiner takes over for the last steps, and the model that it took over from comes back (U006)."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from modules.engine.checkpoints import Checkpoints
from modules.models import Model
from modules.params import UnknownName, parse_infotext
from modules.pipeline import Plan, generate
from modules.pipeline.bench import Bench
from modules.sampling import Context

from .conftest import Person, Worker

Drawer = Callable[..., Person]
Planner = Callable[..., Plan]
REFINED = {"refiner_checkpoint": "tiny_refiner", "refiner_switch_at": 0.5, "steps": 4}
HIRES = {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.6}
pytestmark = pytest.mark.usefixtures("weights_stay")


def pixels(person: Person) -> list[np.ndarray]:
    return [np.asarray(picture.image) for picture in person.pictures]


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The name of the model that answers each call."""
    seen: list[str] = []
    predict = Bench.predict

    def watched(bench: Bench, x: torch.Tensor, timestep: float, context: Context) -> torch.Tensor:
        seen.append(bench.model.path.stem.removeprefix("tiny_"))
        return predict(bench, x, timestep, context)

    monkeypatch.setattr(Bench, "predict", watched)
    return seen


class TestPlan:
    def test_it_is_known_by_any_of_its_names(self, make_plan: Planner) -> None:
        refiner = make_plan(**REFINED | {"refiner_checkpoint": "tiny_refiner [0dfbbba5d3]"}).first.refiner
        assert refiner is not None
        assert (refiner.checkpoint.name, refiner.switch_at, refiner.by_steps) == ("tiny_refiner", 0.5, False)

    def test_the_same_checkpoint_and_the_very_end_are_no_refiner(self, make_plan: Planner) -> None:
        assert make_plan(**REFINED | {"refiner_checkpoint": "tiny_sd1"}).first.refiner is None
        assert make_plan(**REFINED | {"refiner_switch_at": 1.0}).first.refiner is None
        assert make_plan(**REFINED | {"refiner_checkpoint": "None"}).first.refiner is None

    def test_an_unknown_one_is_refused(self, make_plan: Planner) -> None:
        with pytest.raises(UnknownName, match=r"Refiner checkpoint.*Did you mean \"tiny_refiner"):
            make_plan(**REFINED | {"refiner_checkpoint": "tiny_refiners"})

    @pytest.mark.parametrize(
        ("chosen", "expected"),
        [("first pass", (True, False)), ("second pass", (False, True)), ("both passes", (True, True))],
    )
    def test_a_setting_says_in_which_stage_of_hires_fix_it_is(
        self, make_plan: Planner, chosen: str, expected: tuple[bool, bool]
    ) -> None:
        made = make_plan(**REFINED, **HIRES, settings={"hires_fix_refiner_pass": chosen})
        assert made.hires is not None
        assert (made.first.refiner is not None, made.hires.stage.refiner is not None) == expected


def test_it_takes_over_by_the_noise_that_is_left(draw: Drawer, models: list[str]) -> None:
    draw(**REFINED)  # timesteps 999, 666, 333, 0
    assert models == ["sd1", "sd1", "refiner", "refiner"]


def test_it_takes_over_by_steps_where_the_settings_say_so(draw: Drawer, models: list[str]) -> None:
    draw(**REFINED, settings={"refiner_switch_by_sample_steps": True}, sampler_name="DPM++ 2M")
    assert models == ["sd1", "sd1", "refiner", "refiner"]


def test_every_batch_begins_with_the_model_itself(draw: Drawer, models: list[str]) -> None:
    person = draw(**REFINED, n_iter=2, seed=3)
    assert models == ["sd1", "sd1", "refiner", "refiner"] * 2
    assert np.array_equal(pixels(draw(**REFINED, seed=4))[0], pixels(person)[1])


def test_it_starts_a_picture_that_needs_few_steps(draw: Drawer, models: list[str]) -> None:
    draw(
        **REFINED, task="img2img", init_images=("inputs/init128.png",), denoising_strength=0.25
    )  # begins beyond the switch
    assert set(models) == {"refiner"}


def test_the_networks_go_along_with_it(draw: Drawer) -> None:
    for_the_refiner = REFINED | {"refiner_switch_at": 0.0}
    plain = draw(**for_the_refiner)
    assert not np.array_equal(pixels(draw(**for_the_refiner, prompt="a cat <lora:lin:1>"))[0], pixels(plain)[0])
    both = draw(**REFINED, prompt="a cat <lora:lin:1>", negative_prompt="<lora:loha:1>")
    assert parse_infotext(both.pictures[0].infotext).fields["Lora hashes"].count(":") == 2


def test_one_that_never_took_over_is_not_in_the_text(draw: Drawer) -> None:
    stopped = draw(Person(interrupt_at=(0, 1)), **REFINED)
    assert "Refiner" not in parse_infotext(stopped.pictures[0].infotext).fields
    assert "Refiner" in parse_infotext(draw(**REFINED).pictures[0].infotext).fields


def test_it_may_predict_something_else(draw: Drawer, models: list[str], latents: list[torch.Tensor]) -> None:
    """From its first call on it is seen as what it is: with the switch at once, the picture is its own."""
    draw(**REFINED | {"refiner_checkpoint": "tiny_v", "refiner_switch_at": 0.0})
    draw(steps=4, settings={"sd_model_checkpoint": "tiny_v"})
    assert models == ["v"] * 8
    torch.testing.assert_close(latents[0], latents[1], rtol=0, atol=0)


def test_the_model_before_it_makes_room_first(worker: Worker, make_plan: Planner) -> None:
    """Two models need not fit into memory together."""
    before: list[weakref.ref[Model]] = []

    class OneAtATime(Worker):
        def acquire(self, checkpoint: object, vae: object) -> Model:
            model = super().acquire(checkpoint, vae)  # type: ignore[arg-type]
            assert all(ref() is None for ref in before)
            before.append(weakref.ref(model))
            return model

    alone = OneAtATime(**vars(replace(worker, checkpoints=Checkpoints(torch.device("cpu")))))
    person = Person()
    generate(make_plan(**REFINED, prompt="a cat <lora:lin:1>", negative_prompt="<lora:loha:1>"), alone, person, person)
    assert len(before) == 2
