"""The example networks' and the model's previews and sidecars, as a download would bring them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modules.models import Model, patched
from modules.networks import load_embedding, load_hypernetwork, load_lora
from modules.training.captions import PLURALS
from modules.training.examples import OLD_PHOTO
from modules.training.inversion import LearntWord
from modules.training.scenes import COLOURS, SHAPES
from modules.training.showcase import draw, lay_out, make_mosaic
from modules.training.things import KNOWN, THINGS

SHOWN = (
    ("a cat on a yellow background", 11),
    ("a rocket on a blue background", 12),
    ("an owl on a pink background", 13),
    ("a red heart on a white background", 14),
)


EXAMPLES = (
    "models/Lora/tagbrush-sepia.safetensors",
    "models/hypernetworks/tagbrush-night.pt",
    "embeddings/tagbrush-mango.pt",
    "embeddings/tagbrush-dull.safetensors",
)
MODEL = "models/Stable-diffusion/tagbrush-mini.safetensors"


@dataclass(frozen=True, slots=True)
class Card:
    """What stands in a network's `.json` file."""

    description: str
    notes: str = ""
    activation: str = ""
    negative: str = ""
    weight: float = 0.0

    def write(self, path: Path) -> None:
        """Write the sidecar in A1111's form."""
        content = {
            "description": self.description,
            "sd version": "SD1",
            "activation text": self.activation,
            "preferred weight": self.weight,
            "negative text": self.negative,
            "notes": self.notes,
        }
        path.write_text(json.dumps(content, indent=4) + "\n", encoding="utf-8")


CARDS = {
    EXAMPLES[0]: Card(
        "Old photograph: brown tones and dark corners, whatever the picture shows.",
        "Made for Tagbrush Mini. Half of its training captions ended with the activation text.",
        activation=OLD_PHOTO,
        weight=0.8,
    ),
    EXAMPLES[1]: Card(
        "Night: puts everything onto a black ground, whatever ground the prompt asks for.",
        "Made for Tagbrush Mini. Acts on what the attention reads of the prompt (64 wide).",
        weight=1.0,
    ),
    EXAMPLES[2]: Card(
        "A new word: draws a mango, or at least a round fruit in its colours, which Tagbrush Mini was never taught.",
        'Made for Tagbrush Mini. Write it like any thing: "a tagbrush-mango on a blue background". On 4 of 8 grounds '
        "the picture is nearer to a mango than to any of the 148 things that the model was taught.",
        activation="tagbrush-mango",
    ),
    EXAMPLES[3]: Card(
        "For the negative prompt: colours and contrast come out stronger.",
        "Made for Tagbrush Mini: it has learnt what dull, gray pictures are, and guidance leads away from them.",
        negative="tagbrush-dull",
    ),
    MODEL: Card(
        f"Built in: {len(KNOWN)} things and {len(SHAPES)} shapes on {len(COLOURS)} grounds, 128 x 128, CFG 3.",
        'Try "a cat on a yellow background". What it knows and what not is in tagbrush-mini.md.',
    ),
}


def make_cards(model: Model, root: Path) -> None:
    """Write previews and sidecars of the four example networks and the model below `root`."""
    show_look(model, root / EXAMPLES[0], f", {OLD_PHOTO}")
    show_look(model, root / EXAMPLES[1])
    grounds = ("blue", "white", "pink", "green")
    show_word(model, root / EXAMPLES[2], [f"a tagbrush-mango on a {ground} background" for ground in grounds])
    show_word(model, root / EXAMPLES[3], [prompt for prompt, _ in SHOWN], negative=True)
    show_model(model, root / MODEL)
    for relative, card in CARDS.items():
        card.write((root / relative).with_suffix(".json"))


def show_look(model: Model, path: Path, words: str = "") -> None:
    """Draw the preview of a LoRA (`<stem>.png`) or a hypernetwork (`<stem>.preview.png`) with itself applied."""
    is_lora = path.suffix == ".safetensors"
    patches = load_lora(path).patches(model, 1.0).patches if is_lora else load_hypernetwork(path).patches(model)
    with patched(model, patches):
        pictures = draw(model, [f"{prompt}{words}" for prompt, _ in SHOWN], [seed for _, seed in SHOWN])
    make_mosaic(pictures, 2).save(path.with_suffix(".png" if is_lora else ".preview.png"))


def show_word(model: Model, path: Path, prompts: Sequence[str], *, negative: bool = False, scale: float = 3.0) -> None:
    """Draw an embedding's preview with itself in the prompt, or in the negative prompt."""
    word = LearntWord(load_embedding(path).vectors["clip_l"].float())
    with word.attached(model.text_encoder):
        pictures = draw(
            model,
            prompts,
            range(21, 21 + len(prompts)),
            negative=path.stem if negative else "",
            words={path.stem: word.ids},
            scale=scale,
        )
    make_mosaic(pictures, 2).save(path.with_suffix(".preview.png"))


def show_model(model: Model, path: Path) -> None:
    """Draw the checkpoint's preview and its contact sheet: every thing, every shape, every ground."""
    pictures = draw(model, [prompt for prompt, _ in SHOWN], [seed for _, seed in SHOWN])
    make_mosaic(pictures, 2).save(path.with_suffix(".png"))
    grounds, names = tuple(COLOURS), (*THINGS, *SHAPES)
    prompts = []
    for number, name in enumerate(names):
        ground = grounds[number % len(grounds)]
        colour = grounds[(number + 5) % len(grounds)]
        subject = name if name in THINGS else f"{colour} {name}"
        prompts.append(f"{with_article(subject)} on {with_article(ground)} background")
    sheet = lay_out(draw(model, prompts, range(1, 1 + len(prompts)), steps=12), names, columns=14, side=88)
    sheet.save(path.with_name(f"{path.stem}-contact-sheet.webp"), quality=80, method=6)


def with_article(words: str) -> str:
    """Prefix "a" or "an"; nothing to a plural."""
    if words in PLURALS:
        return words
    return ("an " if words[0] in "aeiou" else "a ") + words
