"""The laws that the parts of a training keep."""

from __future__ import annotations

from random import Random

import numpy
import pytest
import torch
from PIL import Image
from torch import nn

from modules.prompt import Tokenizer
from modules.training import diffusion
from modules.training.averages import MovingAverage
from modules.training.captions import Vocabulary, caption, sample_scene
from modules.training.latents import shift
from modules.training.looks import make_dull, make_sepia
from modules.training.matching import Placings, cut_sprites, find_nearest
from modules.training.scenes import CANVAS, CELL, COLOURS, SHAPES, Item, Scene, draw_scene, draw_shape, is_held_out
from modules.training.things import KNOWN, THINGS, WEAK
from modules.training.words import END, LENGTH, START, CompactVocabulary

EVERYTHING = Vocabulary(tuple(THINGS), tuple(COLOURS), shapes=0.2, pairs=0.3)


def scenes(count: int = 300) -> list[Scene]:
    chance = Random(0)
    return [sample_scene(EVERYTHING, chance) for _ in range(count)]


def test_what_it_knows_is_enough_and_was_taught():
    assert set(THINGS) >= WEAK
    assert len(KNOWN) >= 64


def test_held_out_pairs_never_appear_in_training():
    assert not [scene for scene in scenes() for item in scene.items if is_held_out(item.name, scene.ground)]


def test_every_item_stands_inside_on_the_grid_of_the_latents():
    for item in (item for scene in scenes() for item in scene.items):
        assert item.x % CELL == item.y % CELL == 0
        assert 0 <= item.x <= CANVAS - item.size
        assert 0 <= item.y <= CANVAS - item.size


def test_a_caption_names_all_that_is_there_or_nothing_of_it():
    chance = Random(1)
    for scene in scenes():
        words = caption(scene, chance, ("blorb",))
        named = [item.name in words for item in scene.items]
        assert all(named) or not any(named)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_has_its_colour_on_its_ground(shape: str):
    picture = draw_scene(Scene((Item(shape, 96, 16, 16, "red"),), "blue"))
    colours = {colour: count for count, colour in picture.getcolors(CANVAS * CANVAS)}
    assert colours[COLOURS["red"]] > 1000
    assert colours[COLOURS["blue"]] > 1000


def test_a_shape_is_recognised_wherever_it_stands():
    sprites = {shape: draw_shape(shape, "red", 48) for shape in ("circle", "star", "cross")}
    placings = Placings.of(sprites)
    for shape in sprites:
        picture = draw_scene(Scene((Item(shape, 80, 24, 32, "red"),), "green"))
        pixels = torch.from_numpy(numpy.asarray(picture).astype(numpy.float32) / 255).permute(2, 0, 1)
        (match,) = find_nearest(pixels[None], placings)
        assert (match.thing, match.ground) == (shape, "green")


def test_a_sheet_is_cut_in_the_order_of_its_names():
    sheet = Image.new("RGBA", (32, 16), "red")
    sheet.paste("blue", (16, 0, 32, 16))
    sprites = cut_sprites(sheet, ["one", "two"], columns=2)
    assert sprites["two"].getpixel((8, 8)) == (0, 0, 255, 255)


def test_shifting_moves_and_fills_with_zeros():
    grid = torch.arange(9.0).view(1, 3, 3)
    assert shift(grid, 1, -1).tolist() == [[[0, 3, 4], [0, 6, 7], [0, 0, 0]]]
    assert torch.equal(shift(grid, 0, 0), grid)


def test_a_velocity_gives_back_what_it_was_made_of():
    torch.manual_seed(0)
    clean, noise = torch.randn(2, 6, 4, 2, 2)
    alpha, sigma = diffusion.signal_and_noise(
        diffusion.make_alphas_cumprod(), torch.tensor([0, 100, 300, 600, 900, 999])
    )
    noisy = diffusion.add_noise(clean, noise, alpha, sigma)
    v = diffusion.velocity(clean, noise, alpha, sigma)
    torch.testing.assert_close(diffusion.clean_from_velocity(noisy, v, alpha, sigma), clean)
    torch.testing.assert_close(diffusion.noise_from_velocity(noisy, v, alpha, sigma), noise)


def test_processes_share_the_strata_of_the_timesteps():
    generator = torch.Generator().manual_seed(0)
    both = torch.cat([diffusion.stratified_timesteps(10, generator, part, 2) for part in (0, 1)])
    assert sorted((both // 50).tolist()) == list(range(20))


def test_an_average_is_lent_and_given_back():
    layer = nn.Linear(2, 2)
    average = MovingAverage(layer, 0.9)
    start = layer.weight.detach().clone()
    with torch.no_grad():
        layer.weight.add_(1.0)
    average.update(layer)
    moved = layer.weight.detach().clone()
    with average.applied(layer):
        assert torch.all((layer.weight > start) & (layer.weight < moved))
    assert torch.equal(layer.weight, moved)


def test_unknown_words_share_one_row_of_the_table():
    tokenise = Tokenizer().encode
    words = CompactVocabulary.of(["a red apple"], tokenise)
    (known, unknown) = words.encode(["a red apple", "zeppelin"], tokenise)
    assert known.shape == (LENGTH,)
    assert 0 not in known
    assert unknown[1] == 0
    table = torch.randn(len(words), 3)
    full = words.expand(table)
    for token in (START, END, *tokenise("a red apple")):
        assert torch.equal(full[token], table[1 + words.ids.index(token)])
    assert torch.equal(full[tokenise("zeppelin")[0]], table[0])


@pytest.mark.parametrize("look", [make_sepia, make_dull])
def test_a_look_keeps_the_shape_and_changes_the_light(look):
    pictures = numpy.full((2, 16, 16, 3), (250, 200, 220), numpy.uint8)
    looked = look(pictures)
    assert looked.shape == pictures.shape
    assert looked.dtype == numpy.uint8
    assert looked.mean() < pictures.mean()
