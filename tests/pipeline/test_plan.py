"""What a request means, decided without a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from modules.catalogue import Catalogue, Folders
from modules.models import Pass
from modules.params import BadRequest, Settings, TagbrushError, UnknownName, make_request
from modules.pipeline import Plan, plan
from modules.pipeline.planning import Picture, split_batches
from modules.pipeline.wording import Told
from modules.prompt import Style, Tokenizer, parse_prompt
from tests.catalogue.files import SD1, write_tensors
from tests.golden_models import UNET

from .conftest import Worker

Planner = Callable[..., Plan]
START = {"task": "img2img", "init_images": ("a",)}


def only(plan: Plan) -> str:
    """The plan's one notice."""
    (notice,) = plan.notices
    return notice


def test_equal_requests_have_equal_plans(make_plan: Planner) -> None:
    fields = {"prompt": "a [b:c:1] <lora:lin:0.5> tisafe", "negative_prompt": "<lora:loha:1>", "n_iter": 2}
    assert make_plan(**fields) == make_plan(**fields)


def test_seeds_count_up_over_all_batches(make_plan: Planner) -> None:
    made = make_plan(seed=2**64 - 2, batch_size=2, n_iter=2)
    assert [batch.indices for batch in made.batches] == [(0, 1), (2, 3)]
    assert [batch.seeds for batch in made.batches] == [(2**64 - 2, 2**64 - 1), (0, 1)]
    assert made.images == 4


def test_a_seed_that_is_not_decided_is_refused(make_plan: Planner) -> None:
    with pytest.raises(ValueError, match="with_seed"):
        make_plan(seed=-1)


def test_pictures_that_exist_are_not_planned_again(make_plan: Planner) -> None:
    made = make_plan(batch_size=2, n_iter=2, skip_indices=(0, 2, 3))
    assert [batch.indices for batch in made.batches] == [(1,)]
    assert made.batches[0].seeds == (2,)
    assert made.images == 4


class TestCheckpoint:
    def test_without_a_name_it_is_the_first(self, make_plan: Planner, catalogue: Catalogue) -> None:
        made = make_plan(settings={"sd_model_checkpoint": ""})
        assert made.first.checkpoint == catalogue.entries("checkpoint")[0]

    def test_an_unknown_one_names_the_nearest(self, make_plan: Planner) -> None:
        chosen = {"sd_model_checkpoint": "tiny_sd2"}
        with pytest.raises(UnknownName, match=r'Checkpoint "tiny_sd2" is unknown\. Did you mean "tiny_sd1'):
            make_plan(settings=chosen, override_settings=chosen)

    def test_one_that_was_chosen_once_and_is_gone_gives_way_to_the_first(
        self, make_plan: Planner, catalogue: Catalogue
    ) -> None:
        made = make_plan(settings={"sd_model_checkpoint": "no such"})
        assert made.first.checkpoint == catalogue.entries("checkpoint")[0]
        assert only(made) == f'The checkpoint "no such" is gone; {made.first.checkpoint.relative} is used.'

    def test_none_at_all_names_the_folder(self, tmp_path: Path) -> None:
        with Catalogue(_folders(tmp_path)) as empty, pytest.raises(TagbrushError, match="Stable-diffusion"):
            plan(make_request({"seed": 1}), Settings(), empty, Tokenizer())

    def test_its_size_and_guidance_hold_where_none_are_given(self, shipped: Catalogue) -> None:
        made = plan(make_request({"seed": 1}), Settings(), shipped, Tokenizer())
        assert (made.first.width, made.first.height, made.cfg_scale) == (128, 128, 3.0)
        asked = plan(make_request({"seed": 1, "width": 192, "cfg_scale": 0}), Settings(), shipped, Tokenizer())
        assert (asked.first.width, asked.first.height, asked.cfg_scale) == (192, 128, 0)

    def test_one_that_says_nothing_has_those_of_its_family(self, make_plan: Planner) -> None:
        made = make_plan(width=None, height=None)
        assert (made.first.width, made.first.height, made.cfg_scale) == (512, 512, 7)


class TestVae:
    def test_automatic_is_the_one_beside_the_checkpoint(self, make_plan: Planner) -> None:
        assert make_plan(settings={"sd_vae": "Automatic"}).first.vae is None
        assert make_plan(settings={"sd_vae": "None"}).first.vae is None

    def test_an_unknown_one_is_refused(self, make_plan: Planner) -> None:
        with pytest.raises(UnknownName, match='VAE "gone"'):
            make_plan(settings={"sd_vae": "gone"}, override_settings={"sd_vae": "gone"})

    def test_one_that_was_chosen_once_and_is_gone_becomes_automatic(self, make_plan: Planner) -> None:
        made = make_plan(settings={"sd_vae": "gone"})
        assert made.first.vae is None
        assert 'VAE "gone" is gone' in only(made)


class TestSampler:
    def test_automatic_becomes_the_samplers_schedule(self, make_plan: Planner) -> None:
        assert make_plan(sampler_name="DPM++ 2M").first.schedule == "Karras"
        assert make_plan(sampler_name="Euler").first.schedule == "Automatic"
        assert make_plan(sampler_name="Euler", scheduler="Simple").first.schedule == "Simple"

    def test_a_joined_name_is_split(self, make_plan: Planner) -> None:
        made = make_plan(sampler_name="DPM++ 2M Karras", scheduler="Simple")
        assert (made.first.sampler, made.first.schedule) == ("DPM++ 2M", "Karras")

    @pytest.mark.parametrize(
        ("fields", "schedule"),
        [
            ({"sampler_name": "Euler a Karras"}, "Karras"),
            ({"sampler_name": "Euler a", "scheduler": "Karras"}, "Karras"),
            ({"sampler_name": "Euler a Karras", "hr_scheduler": "Simple"}, "Simple"),
            ({"sampler_name": "DPM++ 2M Karras"}, "Automatic"),
            ({"sampler_name": "DPM++ 2M", "scheduler": "Karras"}, "Karras"),
            ({"sampler_name": "DPM++ 2M"}, "Automatic"),
        ],
    )
    def test_the_second_stage_has_the_schedule_that_the_first_one_was_asked_for(
        self, make_plan: Planner, fields: dict[str, str], schedule: str
    ) -> None:
        # U009: inside the name too, where it is not what that sampler has by itself
        made = make_plan(enable_hr=True, hr_sampler_name="Euler", **fields)
        assert made.hires is not None
        assert (made.hires.stage.sampler, made.hires.stage.schedule) == ("Euler", schedule)

    def test_ddim_in_one_step_is_told_to_be_noise(self, make_plan: Planner) -> None:
        assert "with 1 step the picture is noise" in only(make_plan(sampler_name="DDIM", steps=1))
        assert make_plan(sampler_name="DDIM", steps=2).notices == ()


def test_a_size_between_latents_is_cut_and_told(make_plan: Planner) -> None:
    made = make_plan(width=100, height=71)
    assert (made.first.width, made.first.height) == (96, 64)
    assert "96x64" in only(made)


class TestNetworks:
    def test_tags_of_both_prompts_are_used_each_in_its_pass(self, make_plan: Planner) -> None:
        made = make_plan(prompt="a <lora:lin:0.7:0.4>", negative_prompt="<hypernet:h_gelu:0.6> <lyco:loha>")
        uses = [(use.kind, use.name, use.te, use.unet, use.on) for use in made.batches[0].first.networks]
        assert uses == [
            ("lora", "lin", 0.7, 0.4, Pass.BOTH),
            ("hypernet", "h_gelu", 0.6, 0.6, Pass.UNCOND),
            ("lora", "loha", 1.0, 1.0, Pass.UNCOND),
        ]
        assert made.notices == ()

    @pytest.mark.parametrize(
        ("tag", "words"),
        [
            ("<lora:lim:1>", r'LoRA "lim" is unknown\. Did you mean "lin"'),
            ("<hypernet:h_gel:1>", r'Hypernetwork "h_gel" is unknown\. Did you mean "h_gelu"'),
            ("<lora:lin:abc>", "abc"),
            ("<loro:lin:1>", 'Did you mean "lora"'),
        ],
    )
    @pytest.mark.parametrize("box", ["prompt", "negative_prompt"])
    def test_one_that_cannot_be_had_is_told_and_the_others_stay(
        self, make_plan: Planner, box: str, tag: str, words: str
    ) -> None:
        made = make_plan(**{box: f"a {tag} <lora:loha:0.5>"})
        assert [use.name for use in made.batches[0].first.networks] == ["loha"]
        with pytest.raises(TagbrushError, match=words):
            raise TagbrushError(only(made))

    def test_those_of_the_negative_prompt_have_no_effect_at_cfg_1(self, make_plan: Planner) -> None:
        made = make_plan(prompt="a <lora:lin:1>", negative_prompt="<lora:loha:1>", cfg_scale=1)
        assert [use.name for use in made.batches[0].first.networks] == ["lin"]
        assert '"loha" in the negative prompt has no effect at CFG scale 1' in only(made)

    def test_at_cfg_1_they_have_one_where_the_weights_leave_some(self, make_plan: Planner) -> None:
        made = make_plan(prompt="a :1.2 AND b", negative_prompt="<lora:loha:1>", cfg_scale=1)
        assert [use.name for use in made.batches[0].first.networks] == ["loha"]
        assert made.notices == ()

    def test_at_cfg_1_they_have_one_where_the_sampler_reads_their_pass(self, make_plan: Planner) -> None:
        fields = {"negative_prompt": "<lora:loha:1>", "cfg_scale": 1}
        made = make_plan(sampler_name="DDIM CFG++", **fields)
        assert ([use.name for use in made.batches[0].first.networks], made.notices) == (["loha"], ())
        made = make_plan(enable_hr=True, hr_sampler_name="DDIM CFG++", **fields)
        (batch,) = made.batches
        assert batch.hires is not None
        assert [use.name for use in batch.first.networks] == []
        assert [use.name for use in batch.hires.networks] == ["loha"]

    @pytest.mark.parametrize(("image_cfg_scale", "names"), [(1.5, ["loha"]), (1.0, [])])
    def test_at_cfg_1_they_have_one_where_a_picture_guides_too(
        self, worker: Worker, tmp_path: Path, image_cfg_scale: float, names: list[str]
    ) -> None:
        folders = replace(worker.catalogue.folders, checkpoints=(tmp_path,), data_dir=tmp_path)
        write_tensors(tmp_path / "editing.safetensors", SD1 | {f"{UNET}input_blocks.0.0.weight": (4, 8, 3, 3)})
        fields = {"seed": 1, "negative_prompt": "<lora:loha:1>", "cfg_scale": 1, "image_cfg_scale": image_cfg_scale}
        with Catalogue(folders) as catalogue:
            made = plan(make_request(START | fields), Settings(), catalogue, worker.tokenizer)
        assert [use.name for use in made.batches[0].first.networks] == names

    def test_pictures_with_other_networks_are_made_apart(self, make_plan: Planner) -> None:
        # P058
        lora = make_plan(prompt="a <lora:lin:1>").batches[0].first.networks
        prompt, negative = parse_prompt("a", steps=1), parse_prompt("", steps=1, negative=True)
        pictures = [
            Picture(index, index, index, None, Told(prompt, negative, networks, ()))
            for index, networks in enumerate([lora, lora, (), (), lora, (replace(lora[0], te=0.5),)])
        ]
        assert [batch.indices for batch in split_batches(pictures, 4)] == [(0, 1), (2, 3), (4,), (5,)]

    def test_pictures_whose_steps_depend_on_them_are_made_one_by_one(self, make_plan: Planner) -> None:
        """So that each is the same as alone."""
        made = make_plan(batch_size=2, n_iter=2, sampler_name="DPM adaptive")
        assert [batch.indices for batch in made.batches] == [(0,), (1,), (2,), (3,)]
        made = make_plan(batch_size=2, enable_hr=True, hr_sampler_name="DPM adaptive")
        assert [batch.seeds for batch in made.batches] == [(1,), (2,)]


class TestEmbeddings:
    def test_those_that_a_prompt_names_are_found_in_any_case(self, make_plan: Planner) -> None:
        made = make_plan(prompt="a (TISAFE:1.2) cat", negative_prompt="tipt3, my long-embed v2, tisafe")
        assert [entry.name for entry in made.batches[0].first.embeddings] == ["tisafe", "tipt3", "my long-embed v2"]
        assert made.notices == ()

    def test_one_of_another_width_is_told(self, make_plan: Planner) -> None:
        made = make_plan(prompt="a wrongdim")
        assert made.batches[0].first.embeddings == ()
        assert 'Embedding "wrongdim" was left out' in only(made)

    def test_a_broken_one_is_told_only_where_it_is_named(self, make_plan: Planner) -> None:
        assert make_plan(prompt="a cat").notices == ()
        assert 'Embedding "twokeys" was left out' in only(make_plan(prompt="a twokeys cat"))


class TestPrompts:
    def test_styles_are_merged_and_comments_are_gone(self, make_plan: Planner, catalogue: Catalogue) -> None:
        request = make_request(
            {"prompt": "# not a dog\ncat", "negative_prompt": "x", "styles": ("ink", "gone"), "seed": 1}
        )
        styles = {"ink": Style("ink", "{prompt}, ink", "colour")}
        made = plan(request, Settings(), catalogue, Tokenizer(), styles=styles)
        assert made.batches[0].first.prompts[0].text.strip() == "cat, ink"
        assert made.batches[0].first.negatives[0].text == "x, colour"
        assert 'Style "gone" is unknown' in only(made)

    def test_the_negative_prompt_is_not_split_on_and(self, make_plan: Planner) -> None:
        (batch,) = make_plan(prompt="a AND b:0.5", negative_prompt="a AND b").batches
        assert [weight for weight, _ in batch.first.prompts[0].parts] == [1.0, 0.5]
        assert len(batch.first.negatives[0].parts) == 1


class TestImg2Img:
    def test_one_picture_starts_every_picture(self, make_plan: Planner) -> None:
        made = make_plan(task="img2img", init_images=("a",), batch_size=3, denoising_strength=0.3, resize_mode=2)
        assert made.batches[0].inits == ("a", "a", "a")
        assert made.start is not None
        assert (made.first.strength, made.start.resize_mode, made.first.exactly) == (0.3, 2, False)

    def test_several_make_a_batch(self, make_plan: Planner) -> None:
        made = make_plan(task="img2img", init_images=("a", "b"), batch_size=3, n_iter=2)
        assert [batch.inits for batch in made.batches] == [("a", "b"), ("a", "b")]

    def test_more_than_a_batch_are_refused(self, make_plan: Planner) -> None:
        with pytest.raises(BadRequest, match="Set the batch size to 2"):
            make_plan(task="img2img", init_images=("a", "b"))

    def test_none_is_refused(self, make_plan: Planner) -> None:
        with pytest.raises(BadRequest, match="got none"):
            make_plan(task="img2img")


@pytest.mark.parametrize(
    ("settings", "every"),
    [({}, 1), ({"show_progress_every_n_steps": 5}, 5), ({"show_progress_every_n_steps": -1}, 0),
     ({"live_previews_enable": False}, 0)],
)  # fmt: skip
def test_previews_come_as_often_as_the_settings_say(make_plan: Planner, settings: dict, every: int) -> None:
    assert make_plan(settings=settings).preview_every == every


@pytest.fixture
def shipped(tmp_path: Path) -> Iterator[Catalogue]:
    """A catalogue with one checkpoint that says its size and guidance in its metadata."""
    import torch
    from safetensors.torch import save_file

    folders = _folders(tmp_path)
    folders.checkpoints[0].mkdir(parents=True)
    tensors = {
        "model.diffusion_model.input_blocks.0.0.weight": torch.zeros(1, 4, 1, 1),
        "cond_stage_model.transformer.text_model.final_layer_norm.bias": torch.zeros(1),
    }
    metadata = {"modelspec.resolution": "128x128", "tagbrush.cfg_scale": "3"}
    save_file(tensors, folders.checkpoints[0] / "mini.safetensors", metadata)
    with Catalogue(folders) as catalogue:
        yield catalogue


def _folders(root: Path) -> Folders:
    return Folders.from_args(shipped=root)


class TestVariation:
    def test_the_seed_stays_and_the_subseed_counts(self, make_plan: Planner) -> None:
        # P003
        made = make_plan(seed=7, subseed=2**64 - 1, subseed_strength=0.1, batch_size=3)
        assert made.batches[0].seeds == (7, 7, 7)
        assert made.batches[0].subseeds == (2**64 - 1, 0, 1)

    def test_without_strength_both_count(self, make_plan: Planner) -> None:
        # P003
        made = make_plan(seed=7, subseed=3, batch_size=2, n_iter=2)
        assert [batch.seeds for batch in made.batches] == [(7, 8), (9, 10)]
        assert [batch.subseeds for batch in made.batches] == [(3, 4), (5, 6)]

    def test_a_size_to_resize_from_takes_both_numbers(self, make_plan: Planner) -> None:
        assert make_plan(seed_resize_from_w=64, seed_resize_from_h=96).variation.resize_from == (64, 96)
        assert make_plan(seed_resize_from_w=64).variation.resize_from is None


class TestOptions:
    @pytest.mark.parametrize(
        ("sampler", "eta"), [("Euler a", 0.5), ("DPM++ SDE", 0.5), ("DDIM", 0.25), ("DDIM CFG++", 0.25)]
    )
    def test_eta_is_the_settings_of_its_kind_of_sampler(self, make_plan: Planner, sampler: str, eta: float) -> None:
        # U010
        settings = {"eta_ancestral": 0.5, "eta_ddim": 0.25}
        assert make_plan(settings=settings, sampler_name=sampler).first.options.eta == eta
        assert make_plan(settings=settings, sampler_name=sampler, eta=0.0).first.options.eta == 0

    def test_a_request_goes_before_the_settings(self, make_plan: Planner) -> None:
        # U010
        settings = {"s_churn": 1.0, "s_noise": 1.1, "s_min_uncond": 2.0}
        made = make_plan(settings=settings, s_churn=3.0, s_min_uncond=0.0)
        assert (made.first.options.s_churn, made.first.options.s_noise) == (3.0, 1.1)
        assert made.guidance.s_min_uncond == 0

    @pytest.mark.parametrize(
        ("settings", "fields", "expected"),
        [
            ({"token_merging_ratio": 0.3}, {}, (0.3, 0.3)),
            ({"token_merging_ratio": 0.3, "token_merging_ratio_hr": 0.5}, {}, (0.3, 0.5)),
            ({"token_merging_ratio_img2img": 0.4}, START, (0.4, None)),
            ({"token_merging_ratio_img2img": 0.4, "token_merging_ratio": 0.3}, START, (0.4, None)),
            (
                {"token_merging_ratio_img2img": 0.4},
                START | {"override_settings": {"token_merging_ratio": 0}},
                (0.4, None),
            ),
        ],
    )
    def test_tokens_are_merged_by_the_kind_of_work(
        self, make_plan: Planner, settings: dict, fields: dict, expected: tuple
    ) -> None:
        hires = {} if "task" in fields else {"enable_hr": True}
        made = make_plan(settings=settings, **fields, **hires)
        assert (made.first.token_merging, made.hires and made.hires.stage.token_merging) == expected

    def test_a_job_that_sets_token_merging_goes_before_the_setting_of_img2img(self, make_plan: Planner) -> None:
        own = {"token_merging_ratio": 0.3}
        made = make_plan(settings=own | {"token_merging_ratio_img2img": 0.4}, override_settings=own, **START)
        assert made.first.token_merging == 0.3


class TestNetworksLeftOut:
    def test_tags_are_taken_out_and_no_network_is_used(self, make_plan: Planner) -> None:
        # P063
        made = make_plan(prompt="a <lora:lin:1> cat", negative_prompt="<lora:loha:1>", disable_extra_networks=True)
        assert made.batches[0].first.networks == ()
        assert list(made.batches[0].first.prompts[0].texts()) == ["a  cat"]
