"""A picture from a picture: laws of img2img and inpainting, from the request to the result."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from modules.catalogue import Entry
from modules.images import BadPicture
from modules.models import Model, load
from modules.params import TagbrushError, request_from_infotext
from modules.pipeline import FinishedPicture, Plan, generate
from tests.models.small import FAMILIES, write

from .conftest import Person, Worker

Redraw = Callable[..., Person]


@dataclass
class Desk(Worker):
    """A worker with pictures of its own."""

    inputs: dict[str, bytes] = field(default_factory=dict)
    only: Model | None = None
    """The model that is always at hand, in place of the checkpoints."""

    def acquire(self, checkpoint: Entry, vae: Entry | None) -> Model:
        return self.only or super().acquire(checkpoint, vae)

    def read_input(self, input_id: str) -> bytes:
        return self.inputs[input_id]


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return Image.fromarray(values).resize((width, height), Image.Resampling.BICUBIC)


def box(width: int, height: int, *corners: int) -> Image.Image:
    drawn = Image.new("L", (width, height))
    drawn.paste(255, corners)
    return drawn


def file_of(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def same(one: FinishedPicture, other: FinishedPicture) -> bool:
    """Whether two pictures made in batches of different size are the same but for rounding."""
    return one.image.size == other.image.size and int(np.abs(pixels(one.image) - pixels(other.image)).max()) <= 1


PICTURE, OTHER = noise(64, 64), noise(64, 64, seed=1)
MASK = box(64, 64, 16, 16, 40, 48)
INPUTS = {"picture": file_of(PICTURE), "other": file_of(OTHER), "mask": file_of(MASK)}


@pytest.fixture
def redraw(worker: Worker, make_plan: Callable[..., Plan]) -> Redraw:
    """Plans and makes a picture from "picture"; `inputs` are more stored pictures by id."""

    def drawn(
        inputs: dict[str, bytes] | None = None,
        person: Person | None = None,
        model: Model | None = None,
        task: str = "img2img",
        **fields: Any,
    ) -> Person:
        desk = Desk(**vars(worker), inputs=INPUTS | (inputs or {}), only=model)
        person = person or Person()
        started = {"init_images": ["picture"]} if task == "img2img" else {}
        asked = {"task": task, "denoising_strength": 0.8} | started | fields
        generate(make_plan(**asked), desk, person, person)
        return person

    return drawn


@pytest.mark.usefixtures("weights_stay")
@pytest.mark.parametrize("area", [0, 1])
@pytest.mark.parametrize("fill", [0, 1, 2, 3])
def test_nothing_outside_the_mask_changes_and_something_inside_does(redraw: Redraw, area: int, fill: int) -> None:
    """U022, U023: bit for bit, with all four contents, of the whole picture and of the masked part."""
    made = redraw(mask="mask", mask_blur=2, inpaint_full_res=area, inpaint_full_res_padding=8, inpainting_fill=fill)
    result, before, mask = pixels(made.pictures[0].image), pixels(PICTURE), pixels(MASK)
    reach = 2 * 5  # of a blur of 2, and a little more
    outside = mask == 0
    outside[16 - reach : 48 + reach, 16 - reach : 40 + reach] = False
    assert outside.sum() > 500
    assert np.array_equal(result[outside], before[outside])
    assert (result[mask == 255] != before[mask == 255]).mean() > 0.5


def test_masking_all_but_an_inverted_mask_is_masking_the_mask(redraw: Redraw) -> None:
    inverted = {"inverted": file_of(ImageOps.invert(MASK))}
    one = redraw(mask="mask")
    other = redraw(inverted, mask="inverted", inpainting_mask_invert=1)
    assert np.array_equal(pixels(one.pictures[0].image), pixels(other.pictures[0].image))
    assert "Mask mode: Inpaint not masked" in other.pictures[0].infotext


def test_a_full_mask_alone_is_the_whole_picture(redraw: Redraw) -> None:
    full = {"full": file_of(Image.new("L", (64, 64), 255))}
    whole = redraw(full, mask="full", inpaint_full_res=0).pictures[0]
    masked = redraw(full, mask="full", inpaint_full_res=1).pictures[0]
    without = redraw().pictures[0]
    assert np.array_equal(pixels(whole.image), pixels(masked.image))
    assert np.array_equal(pixels(whole.image), pixels(without.image))


def test_an_empty_mask_leaves_the_picture_as_it_is(redraw: Redraw) -> None:
    made = redraw({"empty": file_of(Image.new("L", (64, 64)))}, mask="empty")
    assert np.array_equal(pixels(made.pictures[0].image), pixels(PICTURE))


def test_an_empty_mask_with_only_masked_makes_the_whole_picture_anew_with_a_notice(redraw: Redraw) -> None:
    made = redraw({"empty": file_of(Image.new("L", (64, 64)))}, mask="empty", inpaint_full_res=1, n_iter=2)
    assert np.array_equal(pixels(made.pictures[0].image), pixels(redraw().pictures[0].image))
    assert len(made.notices) == 1 and "empty" in made.notices[0]
    assert "Inpaint area" not in made.pictures[0].infotext


@pytest.mark.parametrize("fill", [1, 2])
def test_the_pictures_of_a_batch_are_those_of_single_jobs(redraw: Redraw, fill: int) -> None:
    fields = {"mask": "mask", "inpainting_fill": fill, "sampler_name": "Euler a"}
    together = redraw(batch_size=2, init_images=["picture", "other"], seed=5, **fields).pictures
    apart = [
        redraw(init_images=[name], seed=5 + index, **fields).pictures[0]
        for index, name in enumerate(["picture", "other"])
    ]
    assert all(same(one, other) for one, other in zip(together, apart, strict=True))


def test_latent_noise_under_the_mask_is_the_seeds_own_in_every_batch(redraw: Redraw) -> None:
    fields = {"mask": "mask", "inpainting_fill": 2}
    one_by_one = redraw(n_iter=2, seed=5, **fields).pictures
    assert same(one_by_one[1], redraw(seed=6, **fields).pictures[0])


def test_several_pictures_make_a_batch_of_their_own(redraw: Redraw) -> None:
    made = redraw(init_images=["picture", "other"], batch_size=3, n_iter=2)
    assert [picture.seed for picture in made.pictures] == [1, 2, 3, 4]


def test_one_part_of_each_of_several_pictures_goes_back_into_its_own(redraw: Redraw) -> None:
    wide = noise(128, 96, seed=3)
    inputs = {"wide": file_of(wide), "left": file_of(box(128, 96, 8, 8, 40, 40))}
    fields = {"mask": "left", "mask_blur": 0, "inpaint_full_res": 1, "inpaint_full_res_padding": 0}
    made = redraw(inputs, init_images=["wide", "picture"], batch_size=2, **fields)
    assert [picture.image.size for picture in made.pictures] == [(128, 96), (64, 64)]
    assert np.array_equal(pixels(made.pictures[0].image)[:, 40:], pixels(wide)[:, 40:])
    assert "stretched" in made.notices[0]


def test_mask_and_composite_come_after_the_pictures(redraw: Redraw) -> None:
    settings = {"return_mask": True, "return_mask_composite": True}
    made = redraw(mask="mask", n_iter=2, settings=settings)
    assert sorted((picture.index, picture.kind) for picture in made.pictures) == [
        (0, "picture"),
        (1, "picture"),
        (2, "mask"),
        (3, "composite"),
        (4, "mask"),
        (5, "composite"),
    ]
    shown = {picture.index: picture for picture in made.pictures}
    assert shown[2].image.mode == "RGB" and shown[3].image.mode == "RGBA"
    assert shown[2].infotext == shown[0].infotext and shown[5].seed == shown[1].seed


ODD_MASKS = {
    "one pixel": file_of(box(64, 64, 30, 30, 31, 31)),
    "tiny": file_of(Image.new("L", (1, 1), 255)),
    "of another size": file_of(box(200, 50, 60, 10, 120, 40)),
    "16 bits": file_of(Image.new("I;16", (64, 64), 0xFFFF)),
    "palette": file_of(MASK.convert("RGB").convert("P")),
    "1 bit": file_of(MASK.convert("1")),
    "transparent palette": file_of(Image.new("P", (64, 64)), transparency=0),
    "animated": file_of(MASK, "GIF", save_all=True, append_images=[Image.new("L", (64, 64))]),
    "jpeg": file_of(MASK, "JPEG"),
    "large": file_of(Image.new("1", (6000, 4000), 1)),
    "long": file_of(Image.new("L", (20_000, 1), 255)),
}


@pytest.mark.parametrize("area", [0, 1])
@pytest.mark.parametrize("name", ODD_MASKS)
def test_odd_masks_work(redraw: Redraw, name: str, area: int) -> None:
    made = redraw(ODD_MASKS, mask=name, inpaint_full_res=area, steps=1, mask_blur=64)
    assert made.pictures[0].image.size == (64, 64)


@pytest.mark.usefixtures("weights_stay")
@pytest.mark.parametrize("data", [b"", b"GIF89a", b"<svg/>", INPUTS["mask"][:80]])
def test_a_mask_that_is_no_picture_is_refused_in_words(redraw: Redraw, data: bytes) -> None:
    with pytest.raises(BadPicture):
        redraw({"bad": data}, mask="bad")


@pytest.mark.parametrize(("strength", "steps"), [(0, 1), (0.5, 6), (0.75, 8), (1, 10)])
def test_as_many_steps_are_made_as_strength_times_steps_and_one(redraw: Redraw, strength: float, steps: int) -> None:
    """U024: int(min(strength, 0.999) * steps) + 1."""
    made = redraw(denoising_strength=strength, steps=10)
    assert made.steps[-1][2:4] == (steps, steps)
    assert "Steps: 10" in made.pictures[0].infotext


def test_exactly_the_steps_are_made_on_request(redraw: Redraw) -> None:
    """U024."""
    assert redraw(denoising_strength=0.5, steps=4, settings={"img2img_fix_steps": True}).steps[-1][2:4] == (4, 4)


def test_noise_multiplier_and_extra_noise_change_the_picture_and_are_written_down(redraw: Redraw) -> None:
    """U026."""
    plain = redraw().pictures[0]
    less = redraw(initial_noise_multiplier=0.5).pictures[0]
    by_settings = redraw(settings={"initial_noise_multiplier": 0.5}).pictures[0]
    more = redraw(settings={"img2img_extra_noise": 0.2}).pictures[0]
    assert not same(plain, less) and not same(plain, more)
    assert np.array_equal(pixels(less.image), pixels(by_settings.image))
    assert "Noise multiplier: 0.5" in less.infotext and "Extra noise: 0.2" in more.infotext


def test_a_stopped_picture_lies_under_the_original_too(redraw: Redraw) -> None:
    made = redraw(person=Person(interrupt_at=(0, 2)), mask="mask", mask_blur=0, steps=6)
    assert not made.pictures[0].is_complete
    outside = pixels(MASK) == 0
    assert np.array_equal(pixels(made.pictures[0].image)[outside], pixels(PICTURE)[outside])


def test_each_resize_mode_makes_a_picture_of_the_asked_size(redraw: Redraw) -> None:
    """U021."""
    inputs = {"wide": file_of(noise(120, 72, seed=4))}
    made = [redraw(inputs, init_images=["wide"], resize_mode=mode).pictures[0] for mode in range(4)]
    assert {picture.image.size for picture in made} == {(64, 64)}
    assert not any(same(one, other) for index, one in enumerate(made) for other in made[:index])


@pytest.fixture(scope="module")
def editing(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A small instruct-pix2pix model."""
    path = tmp_path_factory.mktemp("models") / "editing.safetensors"
    write(path, FAMILIES["sd1_pix2pix"])
    return load(path)


def test_an_instruct_pix2pix_model_keeps_to_the_picture_as_closely_as_asked(redraw: Redraw, editing: Model) -> None:
    """U021: Image CFG, 1.5 where nothing is said; None is A1111's way to do without."""
    drawn = {scale: redraw(model=editing, image_cfg_scale=scale).pictures[0] for scale in (None, 1.0, 1.5, 2.0)}
    unsaid = redraw(model=editing).pictures[0]
    assert np.array_equal(pixels(unsaid.image), pixels(drawn[1.5].image))
    assert np.array_equal(pixels(drawn[None].image), pixels(drawn[1.0].image))
    assert not np.array_equal(pixels(drawn[1.0].image), pixels(drawn[1.5].image))
    assert not np.array_equal(pixels(drawn[2.0].image), pixels(drawn[1.5].image))
    assert "Image CFG scale: 1.5" in unsaid.infotext
    assert "Image CFG scale" not in drawn[None].infotext


def test_an_instruct_pix2pix_model_inpaints_too(redraw: Redraw, editing: Model) -> None:
    made = redraw(model=editing, mask="mask", mask_blur=0).pictures[0]
    outside = pixels(MASK) == 0
    assert np.array_equal(pixels(made.image)[outside], pixels(PICTURE)[outside])


def test_an_instruct_pix2pix_model_asks_for_a_picture(redraw: Redraw, editing: Model) -> None:
    with pytest.raises(TagbrushError, match=r"instruct-pix2pix.*img2img"):
        redraw(model=editing, task="txt2img")


SOFT = {"mask": "mask", "soft_inpainting": True, "mask_blur": 4}


@pytest.mark.usefixtures("weights_stay")
@pytest.mark.parametrize("area", [0, 1])
def test_soft_inpainting_keeps_what_hardly_changed_and_shows_what_did(redraw: Redraw, area: int) -> None:  # U026
    fields = {**SOFT, "inpaint_full_res": area, "inpaint_full_res_padding": 8}
    kept = redraw(soft_inpainting_difference_threshold=8, soft_inpainting_difference_contrast=8, **fields).pictures[0]
    shown = redraw(soft_inpainting_difference_threshold=0, **fields).pictures[0]
    hard = redraw(mask="mask", mask_blur=4, inpaint_full_res=area, inpaint_full_res_padding=8).pictures[0]
    assert kept.image.size == shown.image.size == PICTURE.size
    away = [float(np.abs(pixels(made.image) - pixels(PICTURE)).mean()) for made in (kept, shown)]
    assert away[0] < away[1]
    assert not np.array_equal(pixels(shown.image), pixels(hard.image))
    assert "Soft inpainting" not in hard.infotext


def test_a_text_of_soft_inpainting_asks_for_it_again(redraw: Redraw) -> None:  # I018
    text = redraw(soft_inpainting_mask_influence=0.25, **SOFT).pictures[0].infotext
    assert "Soft inpainting enabled: True, Soft inpainting schedule bias: 1" in text
    pasted = request_from_infotext(text, "img2img").fields
    assert pasted["soft_inpainting"] is True and pasted["soft_inpainting_mask_influence"] == 0.25
    assert (
        request_from_infotext("a\nSteps: 2, Sampler: Euler, CFG scale: 7", "img2img").fields["soft_inpainting"] is False
    )


def test_soft_inpainting_without_a_mask_changes_nothing(redraw: Redraw) -> None:
    plain, soft = redraw().pictures[0], redraw(soft_inpainting=True).pictures[0]
    assert np.array_equal(pixels(plain.image), pixels(soft.image)) and plain.infotext == soft.infotext


def test_a_batch_of_soft_inpainted_pictures_is_those_of_single_jobs(redraw: Redraw) -> None:
    together = redraw(seed=5, batch_size=2, init_images=["picture", "other"], **SOFT).pictures
    alone = [redraw(seed=5 + n, init_images=[name], **SOFT).pictures[0] for n, name in enumerate(("picture", "other"))]
    assert all(same(one, other) for one, other in zip(together, alone, strict=True))
