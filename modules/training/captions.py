"""What may stand in a picture, and the many ways in which a person may ask for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from random import Random

from modules.training.scenes import CANVAS, CELL, COLOURS, SHAPES, Item, Scene, draw_item, is_held_out

SINGLE_SIZES = (96, 96, 80)  # px; twice means twice as often
PAIR_SIZE = 56  # px
QUALITY = (
    "masterpiece", "best quality", "highly detailed", "8k", "sharp focus", "cute", "emoji", "icon", "digital art",
    "beautiful", "simple", "clean", "high resolution", "vector art", "detailed", "studio lighting", "trending",
)  # fmt: skip
PLURALS = ("fries", "glasses", "grapes", "scissors")
OPENINGS = (
    "a picture of",
    "a photo of",
    "a drawing of",
    "a painting of",
    "an emoji of",
    "an image of",
    "a close up of",
)
ADJECTIVES = ("cute", "beautiful", "nice", "funny", "little", "lovely", "big", "happy", "shiny", "old", "new")


@dataclass(frozen=True, slots=True)
class Subject:
    """What a caption's noun phrase names: a thing, or a shape with a colour."""

    name: str
    colour: str | None = None


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What may be drawn at one stage of the training."""

    things: tuple[str, ...]
    grounds: tuple[str, ...]
    shapes: float = 0.0  # part of the subjects that are coloured shapes
    pairs: float = 0.0  # part of the scenes with two subjects; a quarter as many have one at a side
    fresh: int = 0  # so many of the last things are favoured
    jitter: float = 1.0  # part of the scenes whose items vary in place, size and mirror
    plain: float = 0.0  # part of the captions without variation

    def draw(self, chance: Random) -> Subject:
        """Choose a thing or a coloured shape."""
        if chance.random() < self.shapes:
            return Subject(chance.choice(SHAPES), chance.choice(tuple(COLOURS)))
        if self.fresh and chance.random() < 0.5:
            return Subject(chance.choice(self.things[-self.fresh :]))
        return Subject(chance.choice(self.things))


def draws_well(subject: Subject, ground: str) -> bool:
    """Whether the subject can be seen on the ground and belongs to the training."""
    return subject.colour != ground and not is_held_out(subject.name, ground)


def sample_scene(vocabulary: Vocabulary, chance: Random) -> Scene:
    """Compose one picture: mostly one subject, sometimes two side by side or one at a side."""
    while True:
        kind = chance.random()
        ground = chance.choice(vocabulary.grounds)
        subjects = [vocabulary.draw(chance) for _ in range(2 if kind < vocabulary.pairs else 1)]
        if all(draws_well(subject, ground) for subject in subjects):
            break
    put = place if chance.random() < vocabulary.jitter else place_firmly
    if kind < vocabulary.pairs:
        return Scene((put(subjects[0], chance, "left"), put(subjects[1], chance, "right")), ground)
    side = chance.choice(("left", "right")) if kind < vocabulary.pairs * 1.25 else None
    return Scene((put(subjects[0], chance, side),), ground)


def place_firmly(subject: Subject, _chance: Random, side: str | None = None) -> Item:
    """Put a subject into the middle or to the middle of a side, always in the same way."""
    size = PAIR_SIZE if side else SINGLE_SIZES[0]
    middle = (CANVAS - size) // 2 // CELL * CELL
    x = middle if side is None else 0 if side == "left" else CANVAS - size
    return Item(subject.name, size, x, middle, subject.colour)


def place(subject: Subject, chance: Random, side: str | None = None) -> Item:
    """Give a subject a size, a place and perhaps a mirror; on a side it is small, else near the middle."""
    size = PAIR_SIZE if side else chance.choice(SINGLE_SIZES)
    middle = (CANVAS - size) // 2 // CELL
    y = middle + chance.choice((-1, 0, 0, 1))
    if side:
        x = chance.choice((0, 1)) if side == "left" else (CANVAS - size) // CELL - chance.choice((0, 1))
    else:
        x = middle + chance.choice((-1, 0, 0, 1))
    mirrored = subject.name != "arrow" and subject.colour is None and chance.random() < 0.5
    return Item(subject.name, size, x * CELL, y * CELL, subject.colour, mirrored)


@cache
def natural_colour(name: str) -> str:
    """Return the named colour that most of an emoji's pixels are nearest to."""
    votes = dict.fromkeys(COLOURS, 0)
    for red, green, blue, alpha in draw_item(name, None, 32, False).get_flattened_data():
        if alpha > 128:
            votes[_nearest_colour((red, green, blue))] += 1
    return max(votes, key=votes.__getitem__)


def _nearest_colour(rgb: tuple[int, int, int]) -> str:
    return min(COLOURS, key=lambda name: sum((a - b) ** 2 for a, b in zip(COLOURS[name], rgb, strict=True)))


def with_article(words: str, chance: Random) -> str:
    """Prefix "a" or "an" (nothing to a plural), now and then "the" or nothing."""
    if words.endswith(PLURALS):
        return chance.choice(("", "", "the ", "some ")) + words
    if chance.random() < 0.12:
        return chance.choice(("the ", "", "one ")) + words
    return _with_plain_article(words)


def noun_phrase(item: Item, chance: Random) -> str:
    """Name an item; adjectives and right or wrong colours before a thing change nothing in the picture."""
    if item.colour is not None:
        return with_article(f"{item.colour} {item.name}", chance)
    draw = chance.random()
    if draw < 0.06:
        return with_article(f"{natural_colour(item.name)} {item.name}", chance)
    if draw < 0.09:
        return with_article(f"{chance.choice(tuple(COLOURS))} {item.name}", chance)
    if draw < 0.16:
        return with_article(f"{chance.choice(ADJECTIVES)} {item.name}", chance)
    return with_article(item.name, chance)


def caption(scene: Scene, chance: Random, unknown: Sequence[str], plain: float = 0.0) -> str:
    """Ask for a scene in one of many ways. `unknown` are words without a meaning to the model.

    With the probability `plain` it is always the same way.
    """
    if chance.random() < plain:
        nouns = " and ".join(_plain_noun(item) for item in scene.items)
        return f"{nouns} on {_with_plain_article(scene.ground)} background"
    draw = chance.random()
    if draw < 0.05:
        return ""
    if draw < 0.08:
        return ", ".join(_filler(chance, unknown) for _ in range(chance.randint(1, 4)))
    words = " and ".join(noun_phrase(item, chance) for item in scene.items)
    if len(scene.items) == 2 and chance.random() < 0.3:
        first, second = (noun_phrase(item, chance) for item in scene.items)
        words = f"{first} on the left and {second} on the right"
    if len(scene.items) == 1 and scene.items[0].size == PAIR_SIZE:
        words += " on the left" if scene.items[0].x < CANVAS // 3 else " on the right"
    if chance.random() < 0.12:
        words = f"{chance.choice(OPENINGS)} {words}"
    return _with_filler(_with_ground(words, scene.ground, chance), chance, unknown)


def _plain_noun(item: Item) -> str:
    words = f"{item.colour} {item.name}" if item.colour else item.name
    return words if words.endswith(PLURALS) else _with_plain_article(words)


def _with_plain_article(words: str) -> str:
    return ("an " if words[0] in "aeiou" else "a ") + words


def _with_ground(words: str, ground: str, chance: Random) -> str:
    if ground == "white" and chance.random() < 0.6:
        return words
    form = chance.random()
    if form < 0.7:
        return f"{words} on {_with_plain_article(ground)} background"
    if form < 0.8:
        return f"{words} on {ground}"
    if form < 0.87:
        return f"{words} in front of {_with_plain_article(ground)} background"
    return f"{words}, {ground} background" if form < 0.95 else f"{ground} background, {words}"


def _with_filler(words: str, chance: Random, unknown: Sequence[str]) -> str:
    if chance.random() < 0.12:
        words = f"{_filler(chance, unknown)}, {words}"
    while chance.random() < 0.15:
        words = f"{words}, {_filler(chance, unknown)}"
    return words


def _filler(chance: Random, unknown: Sequence[str]) -> str:
    if chance.random() < 0.5:
        return chance.choice(QUALITY)
    return " ".join(chance.choice(unknown) for _ in range(chance.randint(1, 3)))
