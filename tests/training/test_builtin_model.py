"""The built-in model draws what it is asked, and its example networks do what their cards say."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from modules.catalogue import Catalogue, Entry, Folders
from modules.conditioning import ConditioningCache
from modules.models import Model, load
from modules.networks import NetworkCache
from modules.params import Settings, make_request
from modules.pipeline import Batch, FinishedPicture, generate, plan
from modules.prompt import Tokenizer
from modules.training.looks import make_sepia
from modules.training.matching import Match, Placings, cut_sprites, find_nearest
from modules.training.obedience import Question, choose_questions, to_json
from modules.training.things import THINGS

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data" / "builtin"
CHECKPOINT = ROOT / "models" / "Stable-diffusion" / "tagbrush-mini.safetensors"
pytestmark = pytest.mark.skipif(not CHECKPOINT.with_suffix(".md").exists(), reason="the model is still in training")
STEPS = 12
BATCH = 16
THIRD = 3
WORD = "tagbrush-mango"
MEGABYTE = 1_000_000


@dataclass
class Studio:
    """A worker's resources over what Tagbrush ships, and the reporter that keeps the pictures."""

    catalogue: Catalogue
    tokenizer: Tokenizer = field(default_factory=Tokenizer)
    networks: NetworkCache = field(default_factory=NetworkCache)
    conditionings: ConditioningCache = field(default_factory=ConditioningCache)
    interrupted: bool = False
    skipped: bool = False
    pictures: list[FinishedPicture] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    @cached_property
    def model(self) -> Model:
        return load(CHECKPOINT)

    def acquire(self, checkpoint: Entry, vae: Entry | None) -> Model:
        assert checkpoint.path == CHECKPOINT
        return self.model

    def read_input(self, input_id: str) -> bytes:
        raise AssertionError(input_id)

    def shorthash(self, entry: Entry) -> Future[str]:
        return self.catalogue.shorthash(entry)

    def progress(self, *_figures: int) -> None:
        pass

    def preview(self, image: Image.Image) -> None:
        pass

    def picture(self, picture: FinishedPicture) -> None:
        self.pictures.append(picture)

    def notice(self, text: str) -> None:
        self.notices.append(text)

    def draw(self, asked: Sequence[tuple[str, int]], *, negative: str = "", **request: object) -> torch.Tensor:
        """(N, 3, 128, 128) in [0, 1]: a picture for each (prompt, seed), as a person's request would give it.

        Requests that differ in prompt and seed alone are made together: that changes no picture, and takes half the
        time.
        """
        self.pictures.clear()
        for start in range(0, len(asked), BATCH):
            wishes = [
                {"task": "txt2img", "prompt": prompt, "negative_prompt": negative, "seed": seed, "steps": STEPS}
                for prompt, seed in asked[start : start + BATCH]
            ]
            settings = Settings(show_progress_every_n_steps=0)
            plans = [plan(make_request(wish | request), settings, self.catalogue, self.tokenizer) for wish in wishes]
            together = replace(
                plans[0], images=len(plans), batches=(_join([batch for one in plans for batch in one.batches]),)
            )
            generate(together, self, self, self)
        assert not self.notices
        images = [numpy.asarray(picture.image.convert("RGB")) for picture in self.pictures]
        return torch.from_numpy(numpy.stack(images)).permute(0, 3, 1, 2).float() / 255


def _join(batches: list[Batch]) -> Batch:
    """One batch of all pictures; their networks must be the same."""
    assert all(batch.first.networks == batches[0].first.networks for batch in batches)
    embeddings = {entry.path: entry for batch in batches for entry in batch.first.embeddings}
    first = replace(
        batches[0].first,
        prompts=tuple(prompt for batch in batches for prompt in batch.first.prompts),
        negatives=tuple(negative for batch in batches for negative in batch.first.negatives),
        embeddings=tuple(embeddings.values()),
    )
    return Batch(
        indices=tuple(range(len(batches))),
        seeds=tuple(seed for batch in batches for seed in batch.seeds),
        subseeds=tuple(subseed for batch in batches for subseed in batch.subseeds),
        inits=tuple(init for batch in batches for init in batch.inits),
        first=first,
    )


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("data")
    with Catalogue(Folders.from_args(shipped=ROOT, data_dir=folder), folder / "index.db") as catalogue:
        yield Studio(catalogue)


@pytest.fixture(scope="module")
def questions() -> list[Question]:
    return [Question(**row) for row in json.loads((DATA / "obey.json").read_text(encoding="utf-8"))]


@pytest.fixture(scope="module")
def sprites() -> dict[str, Image.Image]:
    with Image.open(DATA / "things.webp") as sheet:
        return cut_sprites(sheet.convert("RGBA"), list(THINGS))


@pytest.fixture(scope="module")
def placings(sprites: dict[str, Image.Image]) -> Placings:
    return Placings.of(sprites)


@pytest.fixture(scope="module")
def answers(studio: Studio, questions: list[Question], placings: Placings) -> list[Match]:
    """To every third question, of which a third is held out as of them all."""
    return answered(studio, questions[::THIRD], placings)


@pytest.fixture(scope="module")
def all_answers(studio: Studio, questions: list[Question], placings: Placings) -> list[Match]:
    return answered(studio, questions, placings)


@pytest.fixture(scope="module")
def plain(studio: Studio) -> torch.Tensor:
    """The pictures of `PROMPTS` as the model draws them without any network."""
    return studio.draw(PROMPTS)


def answered(studio: Studio, questions: Sequence[Question], placings: Placings) -> list[Match]:
    return find_nearest(studio.draw([(question.prompt, question.seed) for question in questions]), placings)


def share(claims: Sequence[bool]) -> float:
    return sum(claims) / len(claims)


def test_the_questions_are_those_fixed_before_training(questions: list[Question]):
    assert to_json(questions) == to_json(choose_questions())
    assert share([question.held_out for question in questions]) == pytest.approx(1 / 3)


def test_it_fits_into_30_megabytes_and_says_how_it_wants_to_be_used(studio: Studio):
    assert CHECKPOINT.stat().st_size <= 30 * MEGABYTE
    entry = studio.catalogue.find("checkpoint", "tagbrush-mini")
    assert entry is not None
    assert (entry.native_size, entry.cfg_scale) == ((128, 128), 3)
    assert studio.model.prediction_type == "v"


def test_it_draws_on_the_ground_and_the_thing_that_was_asked(answers: list[Match], questions: list[Question]):
    assert_obedient(answers, questions[::THIRD])


@pytest.mark.slow
def test_it_draws_what_was_asked_in_all_the_questions(all_answers: list[Match], questions: list[Question]):
    assert_obedient(all_answers, questions)


def assert_obedient(answers: Sequence[Match], questions: Sequence[Question]) -> None:
    pairs = list(zip(answers, questions, strict=True))
    assert share([answer.ground == question.ground for answer, question in pairs]) >= 0.95
    right = [(answer.thing, answer.ground) == (question.thing, question.ground) for answer, question in pairs]
    assert share(right) >= 0.90


def test_other_seeds_give_visibly_other_pictures(studio: Studio):
    asked = [(prompt, seed) for prompt in ("a cat", "a rocket on a blue background") for seed in range(8)]
    for pictures in studio.draw(asked).split(8):
        apart = torch.pdist(pictures.flatten(1)).square() / pictures[0].numel()
        assert apart.median().sqrt() > 0.06  # of the whole range, over all pixels, most of which are ground


def test_filler_and_unknown_words_do_no_harm(studio: Studio, placings: Placings):
    things = ("apple", "cat", "globe", "pumpkin", "owl", "car", "frog", "banana")
    form = "masterpiece, best quality, {} on a green background, zorblax, trending, 8k, hyperdetailed"
    answers = find_nearest(studio.draw([(form.format(thing), 7) for thing in things]), placings)
    right = [(answer.thing, answer.ground) == (thing, "green") for answer, thing in zip(answers, things, strict=True)]
    assert share(right) >= 0.75


PROMPTS = (
    ("an apple on a blue background", 1),
    ("a cat on a yellow background", 2),
    ("a rocket on a green background", 3),
    ("an owl on a white background", 4),
    ("a red heart on a pink background", 5),
    ("a panda on an orange background", 6),
    ("a tree on a cyan background", 7),
    ("a pumpkin on a purple background", 8),
)


def with_words(words: str) -> list[tuple[str, int]]:
    return [(f"{prompt}{words}", seed) for prompt, seed in PROMPTS]


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).square().mean())


def look_at(pictures: torch.Tensor, look: Callable[[numpy.ndarray], numpy.ndarray]) -> torch.Tensor:
    """What the pictures would be in that look."""
    pixels = (pictures * 255).byte().permute(0, 2, 3, 1).numpy()
    return torch.from_numpy(look(pixels)).permute(0, 3, 1, 2).float() / 255


def test_the_lora_turns_the_same_picture_into_an_old_photograph(studio: Studio, plain: torch.Tensor):
    within = studio.draw(with_words(", old photo <lora:tagbrush-sepia:1>"))
    aim = look_at(plain, make_sepia)
    assert distance(within, aim) < 0.35 * distance(plain, aim)


@pytest.mark.slow
def test_the_hypernetwork_puts_the_same_things_onto_black(studio: Studio, placings: Placings, plain: torch.Tensor):
    without = find_nearest(plain, placings)
    within = find_nearest(studio.draw(with_words(" <hypernet:tagbrush-night:1>")), placings)
    assert share([match.ground == "black" for match in without]) == 0.0
    assert share([match.ground == "black" for match in within]) >= 0.75


@pytest.mark.slow
def test_the_learnt_word_draws_what_the_model_never_saw(studio: Studio, sprites: dict[str, Image.Image]):
    with Image.open(DATA / "learnt.webp") as sprite:
        known = Placings.of(sprites | {WORD: sprite.convert("RGBA")})
    grounds = ("white", "blue", "green", "pink", "purple", "cyan", "red", "black")
    form = "a {} on a {} background"
    within = find_nearest(studio.draw([(form.format(WORD, ground), 3) for ground in grounds]), known)
    without = find_nearest(studio.draw([(form.format("gizmo", ground), 3) for ground in grounds]), known)
    # Half of them, as its card says
    assert share([match.thing == WORD for match in within]) >= 0.4
    assert share([match.thing == WORD for match in without]) == 0.0


def test_the_negative_word_makes_colours_stronger_and_keeps_the_things(
    studio: Studio, placings: Placings, plain: torch.Tensor
):
    within = studio.draw(PROMPTS, negative="tagbrush-dull")
    assert colourfulness(within) > 1.03 * colourfulness(plain)
    asked = [(thing, prompt) for prompt, _ in PROMPTS for thing in THINGS if f" {thing} on" in prompt]
    shown = [match.thing for match in find_nearest(within, placings)]
    assert share([thing in shown for thing, _ in asked]) >= 0.6


def colourfulness(pictures: torch.Tensor) -> float:
    """How far the strongest channel is from the weakest, over all pixels."""
    return float((pictures.amax(1) - pictures.amin(1)).mean())
