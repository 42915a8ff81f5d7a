"""The fixed questions that measure whether the built-in model draws what is asked."""

from dataclasses import asdict, dataclass
from random import Random

from modules.training.captions import PLURALS
from modules.training.scenes import COLOURS, is_held_out
from modules.training.things import THINGS

FORMS = (
    "{thing} on {ground} background",
    "{thing} on {ground} background",
    "{thing} on {ground} background",
    "a picture of {thing} on {ground} background",
    "masterpiece, best quality, {thing} on {ground} background",
    "{thing} on {ground} background, wonderful afternoon, 4k",
)


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt with a seed, and what its picture must show."""

    prompt: str
    seed: int
    thing: str
    ground: str
    held_out: bool


def choose_questions(count: int = 96, seed: int = 20_260) -> list[Question]:
    """Choose `count` different things, every ground equally often, a third of the pairs never trained together."""
    chance = Random(seed)
    things = chance.sample(tuple(THINGS), count)
    grounds = chance.sample(list(COLOURS) * -(-count // len(COLOURS)), count)
    questions: list[Question] = []
    for number in range(count):
        held_out = number < count // 3
        thing, ground = _choose_pair(things, grounds, held_out)
        things.remove(thing)
        grounds.remove(ground)
        subject = thing if thing in PLURALS else f"{_article(thing)} {thing}"
        prompt = chance.choice(FORMS).format(thing=subject, ground=f"{_article(ground)} {ground}")
        questions.append(Question(prompt, chance.randrange(2**32), thing, ground, held_out))
    return questions


def _choose_pair(things: list[str], grounds: list[str], held_out: bool) -> tuple[str, str]:
    for ground in dict.fromkeys(grounds):
        for thing in things:
            if is_held_out(thing, ground) == held_out:
                return thing, ground
    raise ValueError(f"no pair of {len(things)} things and {len(grounds)} grounds is held_out={held_out}")


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def to_json(questions: list[Question]) -> list[dict[str, object]]:
    """Return the questions as they are stored."""
    return [asdict(question) for question in questions]
