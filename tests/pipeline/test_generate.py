"""Jobs as a person sees them: progress, stopping, notices, failures. The model is the same bit for bit after each."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from modules.catalogue import Catalogue
from modules.models import Model, NotANumber
from modules.params import Settings, make_request, parse_infotext
from modules.pipeline import Plan, generate, plan
from modules.pipeline.bench import Bench
from modules.sampling import Context
from tests.rounding import rounds_as_the_reference

from .conftest import GOLDEN, MODEL, Person, Worker

Drawer = Callable[..., Person]
pytestmark = pytest.mark.usefixtures("weights_stay")


def pixels(person: Person) -> list[np.ndarray]:
    return [np.asarray(picture.image) for picture in person.pictures]


def test_progress_counts_steps_batches_and_pictures(draw: Drawer) -> None:
    person = draw(batch_size=2, n_iter=2)
    assert person.steps == [
        (0, 2, 0, 2, 0, 4), (0, 2, 1, 2, 0, 4), (0, 2, 2, 2, 0, 4),
        (1, 2, 0, 2, 2, 4), (1, 2, 1, 2, 2, 4), (1, 2, 2, 2, 2, 4),
    ]  # fmt: skip
    assert [picture.index for picture in person.pictures] == [0, 1, 2, 3]
    assert [picture.seed for picture in person.pictures] == [1, 2, 3, 4]
    assert all(picture.is_complete for picture in person.pictures)


@pytest.mark.parametrize("sampler", ["Euler a", "DPM++ 2M SDE", "DDIM"])
def test_a_picture_of_a_batch_is_the_picture_of_its_seed_alone(
    draw: Drawer, latents: list[torch.Tensor], sampler: str
) -> None:
    draw(batch_size=3, seed=5, steps=3, sampler_name=sampler)
    draw(seed=7, steps=3, sampler_name=sampler)
    torch.testing.assert_close(latents[2], latents[3], rtol=0, atol=1e-3)


def test_pictures_that_exist_are_not_made_again(draw: Drawer) -> None:
    person = draw(batch_size=2, n_iter=2, skip_indices=(0, 1, 2))
    assert [(picture.index, picture.seed) for picture in person.pictures] == [(3, 4)]
    assert person.steps[0] == (0, 1, 0, 2, 3, 4)


class TestPreviews:
    def test_one_comes_after_each_step_but_the_last(self, draw: Drawer) -> None:
        person = draw(steps=4)
        assert len(person.previews) == 3
        assert person.previews[0].size == (64, 64)

    def test_a_batch_is_shown_side_by_side(self, draw: Drawer) -> None:
        assert draw(steps=2, batch_size=4).previews[0].size == (128, 128)

    def test_they_come_as_often_as_asked(self, draw: Drawer) -> None:
        assert len(draw(steps=7, settings={"show_progress_every_n_steps": 3}).previews) == 2
        assert draw(steps=4, settings={"live_previews_enable": False}).previews == []

    def test_they_change_nothing(self, draw: Drawer) -> None:
        without = draw(steps=3, sampler_name="Euler a", settings={"live_previews_enable": False})
        assert np.array_equal(pixels(draw(steps=3, sampler_name="Euler a"))[0], pixels(without)[0])


class TestStopping:
    def test_interrupting_keeps_what_the_model_saw_and_ends_the_job(self, draw: Drawer) -> None:
        person = draw(Person(interrupt_at=(1, 2)), steps=5, n_iter=3)
        assert [(picture.index, picture.is_complete) for picture in person.pictures] == [(0, True), (1, False)]
        assert max(step[:3:2] for step in person.steps) == (1, 2)

    def test_the_partial_picture_is_no_noise(self, draw: Drawer) -> None:
        whole = draw(steps=8)
        partial = draw(Person(interrupt_at=(0, 6)), steps=8)
        other = draw(steps=8, seed=2)
        assert _distance(partial, whole) < _distance(other, whole) / 2

    def test_interrupting_before_the_first_step_makes_no_picture(self, draw: Drawer) -> None:
        person = draw(Person(interrupt_at=(0, 0)), n_iter=2)
        assert person.pictures == []
        assert len(person.steps) == 1

    def test_interrupting_at_the_last_step_is_too_late(self, draw: Drawer) -> None:
        person = draw(Person(interrupt_at=(0, 3)), steps=3, n_iter=2)
        assert [(picture.index, picture.is_complete) for picture in person.pictures] == [(0, True)]

    def test_skipping_goes_on_with_the_next_batch(self, draw: Drawer) -> None:
        person = draw(Person(skip_at=(0, 1)), steps=3, n_iter=2)
        assert [(picture.index, picture.is_complete) for picture in person.pictures] == [(0, False), (1, True)]
        assert not person.skipped

    def test_a_stopped_job_leaves_its_networks_nowhere(self, draw: Drawer) -> None:
        person = draw(
            Person(interrupt_at=(0, 1)), steps=3, prompt="a <lora:lin:1>", negative_prompt="<hypernet:h_gelu>"
        )
        assert len(person.pictures) == 1


class TestNetworks:
    def test_one_that_is_unknown_is_told_and_the_picture_is_made_with_the_others(self, draw: Drawer) -> None:
        person = draw(prompt="a <lora:gone:1> cat <lora:lin:0.7>")
        (notice,) = person.notices
        assert 'LoRA "gone" is unknown' in notice
        assert np.array_equal(pixels(person)[0], pixels(draw(prompt="a  cat <lora:lin:0.7>"))[0])
        assert list(_hashes(person)) == ["lin"]

    def test_one_that_does_not_fit_is_told_once_for_all_batches(self, worker: Worker, tmp_path: Path) -> None:
        layer = "lora_unet_down_blocks_9_attentions_0_proj_in"
        factors = {f"{layer}.lora_down.weight": torch.ones(4, 32), f"{layer}.lora_up.weight": torch.ones(32, 4)}
        save_file(factors, tmp_path / "other.safetensors")
        with _worker_with_loras(worker, tmp_path) as stranger:
            person = _generate(stranger, prompt="a cat<lora:other:1>", n_iter=2)
        (notice,) = person.notices
        assert 'LoRA "other" was left out: ' in notice
        assert np.array_equal(pixels(person)[1], pixels(_generate(worker, prompt="a cat", n_iter=2))[1])
        assert "Lora hashes" not in parse_infotext(person.pictures[0].infotext).fields

    def test_one_that_fits_in_part_is_told_and_applied(self, draw: Drawer) -> None:
        person = draw(prompt="a cat<lora:unmatched:1>")
        (notice,) = person.notices
        assert 'LoRA "unmatched" was applied in part' in notice
        assert list(_hashes(person)) == ["unmatched"]

    def test_a_broken_file_is_told_and_left_out(self, worker: Worker, tmp_path: Path) -> None:
        (tmp_path / "half.safetensors").write_bytes((GOLDEN / "lora" / "lin.safetensors").read_bytes()[:5000])
        (tmp_path / "text.pt").write_text("not a model")
        with _worker_with_loras(worker, tmp_path) as broken:
            person = _generate(broken, prompt="a<lora:half:1> cat<lora:text>")
        assert len(person.pictures) == 1
        assert [notice.split(" was left out: ")[0] for notice in person.notices] == ['LoRA "half"', 'LoRA "text"']

    def test_a_file_that_vanished_since_planning_is_told_and_left_out(self, worker: Worker, tmp_path: Path) -> None:
        shutil.copy(GOLDEN / "lora" / "lin.safetensors", tmp_path)
        with _worker_with_loras(worker, tmp_path) as brief:
            made, person = _plan(brief, prompt="a<lora:lin:1>"), Person()
            (tmp_path / "lin.safetensors").unlink()
            generate(made, brief, person, person)
        assert len(person.pictures) == 1
        assert 'LoRA "lin" was left out' in person.notices[0]

    def test_the_same_one_twice_adds_on_every_run(self, draw: Drawer, latents: list[torch.Tensor]) -> None:
        for prompt in ("a <lora:lin:0.5><lora:lin:0.5>", "a <lora:lin:1>", "a <lora:lin:0.5><lora:lin:0.5>"):
            draw(prompt=prompt)
        torch.testing.assert_close(latents[0], latents[1], rtol=0, atol=1e-3)
        assert torch.equal(latents[0], latents[2])

    def test_embeddings_are_words_of_the_prompt_that_names_them(self, draw: Drawer) -> None:
        plain, word = draw(prompt="a cat"), draw(prompt="a tisafe cat")
        assert _distance(plain, word) > 1
        assert parse_infotext(word.pictures[0].infotext).fields["TI hashes"].startswith("tisafe: ")

    def test_a_loras_own_words_hold_while_it_does(self, draw: Drawer, worker: Worker) -> None:
        bundle = worker.networks.lora(GOLDEN / "lora" / "bundle.safetensors")
        word = bundle.embeddings[0].name
        with_lora = draw(prompt=f"a {word} cat <lora:bundle:1>")
        assert with_lora.notices == []
        assert _distance(with_lora, draw(prompt="a cat <lora:bundle:1>")) > 1


class TestNegativePrompt:
    def test_its_networks_act_on_the_unconditional_pass_alone(
        self, draw: Drawer, latents: list[torch.Tensor], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Euler over one step: x0 is linear in both passes, so each pass can be taken from a job of its own."""
        one = {"prompt": "a cat", "negative_prompt": "bad", "steps": 1, "cfg_scale": 3.0}
        cond = _one_pass(draw, latents, prompt="a cat")
        plain_uncond = _one_pass(draw, latents, prompt="bad")
        bent_uncond = _one_pass(draw, latents, prompt="bad <lora:lin:0.8><hypernet:h_relu4:0.6>")
        latents.clear()
        draw(**one)
        draw(**one | {"negative_prompt": "bad <lora:lin:0.8><hypernet:h_relu4:0.6>"})
        tolerance = 2e-3 if rounds_as_the_reference() else 0.1
        torch.testing.assert_close(latents[0], plain_uncond + 3 * (cond - plain_uncond), rtol=0, atol=tolerance)
        torch.testing.assert_close(latents[1], bent_uncond + 3 * (cond - bent_uncond), rtol=0, atol=tolerance)
        assert (latents[1] - latents[0]).abs().max() > 0.1

    def test_its_tags_are_no_words(self, draw: Drawer) -> None:
        tagged = draw(negative_prompt="bad<lora:lin:0>")
        assert np.array_equal(pixels(tagged)[0], pixels(draw(negative_prompt="bad"))[0])

    def test_at_cfg_1_the_person_is_told_that_it_has_no_effect(self, draw: Drawer) -> None:
        person = draw(negative_prompt="bad <lora:lin:1>", cfg_scale=1)
        assert ["no effect at CFG scale 1" in notice for notice in person.notices] == [True]
        assert np.array_equal(pixels(person)[0], pixels(draw(negative_prompt="bad", cfg_scale=1))[0])


class TestImg2Img:
    def test_strength_zero_with_ddim_gives_the_picture_back(self, draw: Drawer) -> None:
        start = {"task": "img2img", "init_images": ("inputs/init128.png",), "width": 128, "height": 128}
        person = draw(**start, denoising_strength=0, sampler_name="DDIM", steps=4)
        assert len(person.pictures) == 1
        assert person.steps == [(0, 1, 0, 0, 0, 1)]


class TestFailures:
    def test_a_model_that_overflows_says_so_with_the_remedy(
        self, draw: Drawer, model: Model, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Bench, "predict", lambda bench, x, timestep, context: x * torch.nan)
        with pytest.raises(NotANumber, match=r"not numbers.*Use another sampler"):
            draw(prompt="a <lora:lin:1>", negative_prompt="<lora:loha:1>")

    @pytest.mark.parametrize("error", [RuntimeError("can't allocate memory"), torch.OutOfMemoryError(), ValueError()])
    def test_an_error_of_any_kind_leaves_no_trace(
        self, draw: Drawer, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        def broken(bench: Bench, x: torch.Tensor, timestep: float, context: Context) -> torch.Tensor:
            raise error

        monkeypatch.setattr(Bench, "predict", broken)
        with pytest.raises(type(error)):
            draw(prompt="a <lora:lin:1> <hypernet:h_gelu:1>")

    def test_an_error_in_the_middle_of_the_unconditional_pass_leaves_no_trace(
        self, draw: Drawer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls = []

        def failing(bench: Bench, x: torch.Tensor, timestep: float, context: Context) -> torch.Tensor:
            calls.append(timestep)
            if len(calls) == 4:
                raise KeyboardInterrupt
            return torch.zeros_like(x)

        monkeypatch.setattr(Bench, "predict", failing)
        with pytest.raises(KeyboardInterrupt):
            draw(steps=5, prompt="a <lora:lin:1>", negative_prompt="<lora:loha:1> <hypernet:h_gelu:1>")

    def test_whoever_reports_may_fail_too(self, worker: Worker) -> None:
        class Deaf(Person):
            def preview(self, draw: Callable[[], Image.Image]) -> None:
                raise BrokenPipeError

        person = Deaf()
        with pytest.raises(BrokenPipeError):
            generate(_plan(worker, prompt="a <lora:lin:1>"), worker, person, person)


class TestInfotext:
    def test_it_says_what_made_the_picture(self, draw: Drawer) -> None:
        person = draw(
            prompt="a (cat) <lora:lin:0.5>",
            negative_prompt="bad <lora:loha:0.2>",
            sampler_name="Euler a",
            settings={"emphasis": "No norm", "CLIP_stop_at_last_layers": 2, "eta_noise_seed_delta": 31337},
        )
        info = parse_infotext(person.pictures[0].infotext)
        assert (info.prompt, info.negative_prompt) == ("a (cat) <lora:lin:0.5>", "bad <lora:loha:0.2>")
        assert info.fields["Model hash"] == "3b44911865"
        assert info.fields["Lora hashes"] == "lin: 3f02084f13f5, loha: 53a9c762ea71"
        assert info.fields["Clip skip"] == "2"
        assert info.fields["ENSD"] == "31337"
        assert info.fields["Emphasis"] == "No norm"
        assert info.fields["Version"].startswith("Tagbrush ")

    def test_a_hash_that_cannot_be_had_is_left_out(self, worker: Worker, tmp_path: Path) -> None:
        folder = tmp_path / "models"
        shutil.copytree(MODEL.parent, folder)
        folders = replace(worker.catalogue.folders, checkpoints=(folder,), data_dir=tmp_path)
        with Catalogue(folders) as brief:
            made, person = _plan(replace(worker, catalogue=brief)), Person()
            worker.acquire(made.first.checkpoint, None)
            (folder / MODEL.name).unlink()
            generate(made, replace(worker, catalogue=brief), person, person)
        assert "Model hash" not in parse_infotext(person.pictures[0].infotext).fields


def _one_pass(draw: Drawer, latents: list[torch.Tensor], prompt: str) -> torch.Tensor:
    latents.clear()
    draw(prompt=prompt, steps=1, cfg_scale=1)
    return latents[0]


def _distance(one: Person, other: Person) -> float:
    return float(np.abs(pixels(one)[0].astype(float) - pixels(other)[0].astype(float)).mean())


def _hashes(person: Person) -> Iterator[str]:
    return (
        part.split(":")[0] for part in parse_infotext(person.pictures[0].infotext).fields["Lora hashes"].split(", ")
    )


def _plan(worker: Worker, **fields: object) -> Plan:
    small = {"prompt": "a cat", "seed": 1, "steps": 2, "width": 64, "height": 64, "sampler_name": "Euler"}
    settings = Settings(randn_source="CPU", sd_model_checkpoint=MODEL.stem)
    return plan(make_request(small | fields), settings, worker.catalogue, worker.tokenizer)


def _generate(worker: Worker, **fields: object) -> Person:
    person = Person()
    generate(_plan(worker, **fields), worker, person, person)
    return person


@contextmanager
def _worker_with_loras(worker: Worker, folder: Path) -> Iterator[Worker]:
    with Catalogue(replace(worker.catalogue.folders, loras=(folder,), data_dir=folder)) as catalogue:
        yield replace(worker, catalogue=catalogue)
