"""The script SD upscale: a picture enlarged and redrawn in tiles, as part of the same story (S006, A013)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from modules.images.tiles import lay_out, split
from modules.params import BadRequest, TooMuch, make_request, parse_infotext, request_from_infotext
from modules.pipeline import Plan, generate

from .conftest import Person, Worker
from .test_img2img import Desk, file_of, noise, pixels

SOURCE = noise(64, 64)
SIDE, OVERLAP = 64, 16
GRID = lay_out(128, 128, SIDE, SIDE, OVERLAP)
FEW = {"sd_upscale_scale": 1.25}
"""A picture of four tiles instead of nine."""
SCRIPT = {"task": "img2img", "script": "SD upscale", "sd_upscale_overlap": OVERLAP, "init_images": ["picture"]}
Upscale = Callable[..., Person]


@pytest.fixture
def desk(worker: Worker) -> Desk:
    enlarged = SOURCE.resize((128, 128), Image.Resampling.LANCZOS)
    tiles = {f"tile{number}": file_of(tile) for number, tile in enumerate(split(enlarged, GRID))}
    more = {
        "small": file_of(noise(40, 48)),
        "large": file_of(Image.new("RGB", (1024, 8))),
        "mask": file_of(Image.new("L", (64, 64))),
    }
    return Desk(**vars(worker), inputs={"picture": file_of(SOURCE), **tiles, **more})


@pytest.fixture
def redraw(desk: Desk, make_plan: Callable[..., Plan]) -> Upscale:
    def drawn(person: Person | None = None, **fields: Any) -> Person:
        person = person or Person()
        generate(make_plan(**{"denoising_strength": 0.4, "steps": 4} | fields), desk, person, person)
        return person

    return drawn


@pytest.fixture
def upscale(redraw: Upscale) -> Upscale:
    def drawn(person: Person | None = None, **fields: Any) -> Person:
        return redraw(person, **SCRIPT | fields)

    return drawn


@pytest.mark.usefixtures("weights_stay")
def test_each_tile_is_what_img2img_makes_of_it_with_the_next_seed(upscale: Upscale, redraw: Upscale) -> None:
    (picture,) = upscale(seed=7).pictures
    assert picture.image.size == (128, 128) and picture.seed == 7
    whole = pixels(picture.image)
    for place in (0, 4, 8):
        alone = redraw(task="img2img", init_images=[f"tile{place}"], seed=7 + place).pictures[0].image
        inner = slice(OVERLAP, 32) if place != 0 else slice(0, 32)  # no other tile fades in there
        region = GRID.regions[place]
        shown = whole[region.top : region.bottom, region.left : region.right]
        assert np.array_equal(shown[inner, inner], pixels(alone)[inner, inner])


def test_the_picture_is_the_same_however_many_tiles_are_made_together(upscale: Upscale) -> None:
    alone, together = (upscale(batch_size=size, sampler_name="Euler a", **FEW).pictures[0].image for size in (1, 3))
    assert np.abs(pixels(alone) - pixels(together)).max() <= 1


def test_the_batch_count_is_the_number_of_pictures_and_seeds_count_up(upscale: Upscale) -> None:
    pictures = upscale(seed=3, n_iter=2, batch_size=3, **FEW).pictures
    assert [(picture.index, picture.seed) for picture in pictures] == [(0, 3), (1, 4)]
    again = upscale(seed=4, **FEW).pictures[0]
    assert np.abs(pixels(pictures[1].image) - pixels(again.image)).max() <= 1
    assert not np.array_equal(pixels(pictures[0].image), pixels(pictures[1].image))


def test_pictures_that_exist_are_not_made_again_and_the_others_are_the_same(upscale: Upscale) -> None:
    whole = upscale(seed=3, n_iter=2, **FEW).pictures
    rest = upscale(seed=3, n_iter=2, skip_indices=(0,), **FEW).pictures
    assert [picture.index for picture in rest] == [1]
    assert np.array_equal(pixels(rest[0].image), pixels(whole[1].image))


def test_with_a_variation_the_seeds_of_tiles_count_and_the_subseed_stays(make_plan: Callable[..., Plan]) -> None:
    plan = make_plan(**SCRIPT, subseed=9, subseed_strength=0.5, n_iter=2)
    assert [(batch.seeds, batch.subseeds) for batch in plan.batches] == [((1,), (9,)), ((2,), (9,))]


def test_the_text_says_what_was_done_in_a1111s_keys_and_asks_for_it_again(upscale: Upscale) -> None:  # I013, I018
    text = upscale(sd_upscale_scale=1.25, sd_upscale_upscaler="Nearest").pictures[0].infotext
    fields = parse_infotext(text).fields
    assert fields["SD upscale overlap"] == "16" and fields["SD upscale upscaler"] == "Nearest"
    assert fields["Size"] == "64x64" and fields["Seed"] == "1" and fields["Denoising strength"] == "0.4"
    pasted = request_from_infotext(text, "img2img").fields
    again = make_request({**pasted, "task": "img2img", "init_images": ["picture"]})
    assert (again.script, again.sd_upscale_overlap) == ("SD upscale", 16)
    assert (again.sd_upscale_upscaler, again.sd_upscale_scale) == ("Nearest", 1.25)


def test_progress_runs_once_over_all_tiles_and_previews_show_the_whole_picture(upscale: Upscale) -> None:
    watched = upscale(batch_size=2, settings={"show_progress_every_n_steps": 1, "live_previews_enable": True})
    steps = [done for _, _, done, _, _, _ in watched.steps]
    assert steps == sorted(steps)
    batch, batches, done, total, made, images = watched.steps[-1]
    each = total // 5  # nine tiles, two at a time
    assert (batch, batches, done, made, images) == (0, 1, total, 0, 1) and total == 5 * each
    assert each > 1
    assert {preview.size for preview in watched.previews} == {(128, 128)}
    assert len(watched.previews) >= 5


def test_stopped_the_picture_shows_what_is_done_and_the_rest_as_it_was_enlarged(upscale: Upscale) -> None:
    per_tile = upscale().steps[-1][3] // 9
    watched = upscale(Person(interrupt_at=(0, per_tile + 1)), n_iter=2)
    (picture,) = watched.pictures
    assert not picture.is_complete and picture.image.size == (128, 128)
    enlarged, result = pixels(SOURCE.resize((128, 128), Image.Resampling.LANCZOS)), pixels(picture.image)
    assert np.array_equal(result[96:, :], enlarged[96:, :])
    assert not np.array_equal(result[:32, :32], enlarged[:32, :32])


def test_skipped_it_goes_on_with_the_next_picture(upscale: Upscale) -> None:
    watched = upscale(Person(skip_at=(0, 1)), n_iter=2, **FEW)
    assert [(picture.index, picture.is_complete) for picture in watched.pictures] == [(0, False), (1, True)]


def test_a_mask_and_further_pictures_are_left_out_with_a_notice(upscale: Upscale) -> None:
    watched = upscale(mask="mask", init_images=["picture", "small", "small"], **FEW)
    assert np.array_equal(pixels(watched.pictures[0].image), pixels(upscale(**FEW).pictures[0].image))
    assert ["mask" in notice or "first of the 3" in notice for notice in watched.notices] == [True, True]
    assert "Mask" not in watched.pictures[0].infotext


@pytest.mark.parametrize(("upscaler", "size"), [("None", (40, 48)), ("Lanczos", (80, 96))])
def test_a_picture_of_any_size_keeps_its_shape(upscale: Upscale, upscaler: str, size: tuple[int, int]) -> None:
    assert upscale(init_images=["small"], sd_upscale_upscaler=upscaler).pictures[0].image.size == size


def test_what_is_beyond_the_limits_is_refused_before_anything_is_drawn(upscale: Upscale) -> None:
    person = Person()
    with pytest.raises(TooMuch, match=r"128x128.*max_megapixels"):
        upscale(person, settings={"max_megapixels": 0.01})
    with pytest.raises(TooMuch, match="9 tiles of 64x64; max_pictures is 8"):
        upscale(person, settings={"max_pictures": 8})
    with pytest.raises(BadRequest, match="8192"):
        upscale(person, sd_upscale_scale=16, init_images=["large"])
    assert not person.pictures and not person.steps


def test_tiles_must_be_larger_than_their_overlap(make_plan: Callable[..., Plan]) -> None:
    with pytest.raises(BadRequest, match="overlap is 64"):
        make_plan(**SCRIPT | {"sd_upscale_overlap": 64})


def test_steps_that_depend_on_the_picture_make_tiles_one_by_one(make_plan: Callable[..., Plan]) -> None:
    plan = make_plan(**SCRIPT, batch_size=4, sampler_name="DPM adaptive")
    assert plan.tiles is not None and plan.tiles.together == 1


@pytest.mark.usefixtures("weights_stay")
def test_networks_act_on_every_tile(upscale: Upscale) -> None:
    plain, with_lora = (upscale(prompt=f"a cat{tag}", **FEW).pictures[0] for tag in ("", "<lora:lin:1>"))
    changed = (pixels(plain.image) != pixels(with_lora.image)).any(-1)
    assert all(changed[y : y + 40, x : x + 40].mean() > 0.5 for x in (0, 40) for y in (0, 40))
    assert "Lora hashes" in with_lora.infotext
