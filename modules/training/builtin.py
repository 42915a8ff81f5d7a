"""Train the built-in model from nothing: `python -m modules.training.builtin --state DIR`."""

import argparse
import hashlib
import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy
import torch

from modules.models import load
from modules.prompt import Tokenizer
from modules.training import autoencoder, cards, examples, latents
from modules.training.captions import (
    ADJECTIVES,
    OPENINGS,
    QUALITY,
    Vocabulary,
    caption,
    sample_scene,
)
from modules.training.denoiser import Batch, Denoiser, DenoiserSettings, DenoiserTraining
from modules.training.export import save_checkpoint
from modules.training.parallel import run_workers
from modules.training.scenes import CANVAS, COLOURS, SHAPES, draw_scene
from modules.training.things import KNOWN, THINGS
from modules.training.words import CompactVocabulary, Tokenise

log = logging.getLogger(__name__)
WORKERS = 2
CHECKPOINT = Path(__file__).parents[2] / "models" / "Stable-diffusion" / "tagbrush-mini.safetensors"
EASY = 0.35  # x0 error at t >= 800 below which more things are added
EVERYTHING = Vocabulary(tuple(THINGS), tuple(COLOURS), shapes=0.12, pairs=0.2, jitter=0.6, plain=0.25)


def draw_pictures(count: int, seed: int) -> numpy.ndarray:
    """Draw random scenes: (count, 128, 128, 3) bytes."""
    chance = Random(seed)
    return numpy.stack([numpy.asarray(draw_scene(sample_scene(EVERYTHING, chance))) for _ in range(count)])


def save(value: object, path: Path) -> None:
    """Write a file so that it is never half there."""
    part = path.with_suffix(".part")
    torch.save(value, part)
    os.replace(part, path)


def note(state: Path, **figures: object) -> None:
    """Append a line of figures to the training's diary."""
    with (state / "diary.jsonl").open("a") as file:
        file.write(json.dumps(figures) + "\n")
    log.info("%s", figures)


def work_autoencoder(rank: int, workers: int, state: Path, seconds: float) -> None:
    """Train the autoencoder in one of several processes; the first one writes `vae.pt`."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    settings = autoencoder.AutoencoderSettings(seconds=seconds)
    torch.manual_seed(0)
    model = autoencoder.build_autoencoder(settings)
    held = autoencoder.to_tensor(draw_pictures(48, seed=10_000))
    if rank == 0:
        autoencoder.initialise(model, autoencoder.to_tensor(draw_pictures(64, seed=20_000)))
        note(state, stage="vae", step=0, psnr=round(autoencoder.measure_psnr(model, held), 2))
    pictures = draw_pictures(4000, seed=rank)
    average = None
    for average, step, gone, loss in autoencoder.train_autoencoder(model, pictures, settings, seed=rank):
        if rank == 0 and step % 500 == 0:
            with average.applied(model):
                psnr = round(autoencoder.measure_psnr(model, held), 2)
                save(model.state_dict(), state / "vae-unwhitened.pt")
            note(state, stage="vae", step=step, gone=round(gone, 3), loss=round(loss, 4), psnr=psnr)
    if rank == 0 and average is not None:
        with average.applied(model):
            autoencoder.whiten(model, autoencoder.to_tensor(draw_pictures(256, seed=30_000)))
            note(state, stage="vae", done=True, psnr=round(autoencoder.measure_psnr(model, held), 2))
            save(model.state_dict(), state / "vae.pt")


def invent_words(known: CompactVocabulary, tokenise: Tokenise, count: int = 2000) -> tuple[str, ...]:
    """Make up words of which no token means anything to the model."""
    chance, words = Random(0), set[str]()
    while len(words) < count:
        syllables = chance.randint(1, 3)
        word = "".join(chance.choice("bdfghklmnprstvwz") + chance.choice("aeiou") for _ in range(syllables)) + "n"
        if not set(tokenise(word)) & set(known.ids):
            words.add(word)
    return tuple(sorted(words))


def list_texts() -> list[str]:
    """List every phrase that captions are made of."""
    frame = "a an the one some and on the left on the right in front of a background,"
    return [frame, *THINGS, *COLOURS, *SHAPES, *QUALITY, *OPENINGS, *ADJECTIVES]


def load_autoencoder(state: Path) -> latents.Encode:
    """Return the trained autoencoder's encoder."""
    model = autoencoder.build_autoencoder(autoencoder.AutoencoderSettings())
    model.load_state_dict(torch.load(state / "vae.pt", weights_only=True))
    model.requires_grad_(False)

    def encode(pictures: numpy.ndarray) -> torch.Tensor:
        batch = autoencoder.to_tensor(pictures).contiguous(memory_format=torch.channels_last)
        return model.encode(batch).latent_dist.mean * autoencoder.SCALE_FACTOR

    return encode


def work_latents(rank: int, workers: int, state: Path) -> None:
    """Encode this process's share of all items."""
    keys = list(latents.list_keys(tuple(THINGS), shapes=True))[rank::workers]
    save(
        {"keys": keys, "differences": latents.encode_keys(keys, load_autoencoder(state))}, state / f"latents-{rank}.pt"
    )


def load_library(state: Path) -> latents.LatentLibrary:
    """Read all items' latents."""
    parts = [torch.load(path, weights_only=True) for path in sorted(state.glob("latents-?.pt"))]
    keys = [tuple(key) for part in parts for key in part["keys"]]
    return latents.LatentLibrary(
        latents.encode_grounds(load_autoencoder(state)),
        {key: place for place, key in enumerate(keys)},
        torch.cat([part["differences"] for part in parts]),
    )


@dataclass(frozen=True, slots=True)
class Stage:
    """What may be drawn, for how many steps at most, with how many pictures per process in each."""

    vocabulary: Vocabulary
    steps: int
    batch: int


def list_stages() -> tuple[Stage, ...]:
    """Return the curriculum: few things in one place first; more things, places and ways to ask with every stage."""
    things, grounds = tuple(THINGS), tuple(COLOURS)
    late = len(things) - 96
    return (
        Stage(Vocabulary(things[:6], grounds[:3], jitter=0.0, plain=0.9), 200, 16),
        Stage(Vocabulary(things[:12], grounds[:4], jitter=0.0, plain=0.9, fresh=6), 200, 16),
        Stage(Vocabulary(things[:24], grounds[:6], jitter=0.2, plain=0.7, fresh=12), 200, 24),
        Stage(Vocabulary(things[:48], grounds[:8], jitter=0.2, plain=0.6, fresh=24), 250, 24),
        Stage(Vocabulary(things[:96], grounds, jitter=0.2, plain=0.5, fresh=48, pairs=0.1), 250, 32),
        Stage(Vocabulary(things, grounds, jitter=0.3, plain=0.4, fresh=late, pairs=0.15, shapes=0.1), 300, 32),
        Stage(Vocabulary(things, grounds, jitter=0.3, plain=0.4, pairs=0.12, shapes=0.1), 1300, 32),
        Stage(EVERYTHING, 10**9, 32),
    )


def work_denoiser(rank: int, workers: int, state: Path, seconds: float) -> None:
    """Train text encoder and UNet in one of several processes; the first one writes `denoiser.pt` every minute."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    tokenise = Tokenizer().encode
    words = CompactVocabulary.of(list_texts(), tokenise)
    unknown = invent_words(words, tokenise)
    torch.manual_seed(0)
    training = DenoiserTraining(Denoiser(DenoiserSettings(), len(words)), DenoiserSettings())
    stage, begun, stored = 0, 0, 0.0
    if (state / "denoiser.pt").exists():
        whole = torch.load(state / "denoiser.pt", weights_only=True)
        training.load_state_dict(whole["training"])
        stage, begun = whole["stage"], whole["begun"]
    library, stages = load_library(state), list_stages()
    chance = Random(1000 * training.progress.step + rank)

    def draw() -> Batch:
        vocabulary = stages[stage].vocabulary
        scenes = [sample_scene(vocabulary, chance) for _ in range(stages[stage].batch)]
        texts = [caption(scene, chance, unknown, vocabulary.plain) for scene in scenes]
        return torch.stack([library.compose(scene) for scene in scenes]), words.encode(texts, tokenise)

    for progress in training.run(draw, seconds, rank=rank, workers=workers):
        spent = progress.step - begun
        easy = spent >= 120 and progress.decisive_error < EASY and stage + 1 < len(stages)
        if spent >= stages[stage].steps or easy:
            stage, begun, progress.decisive_error = stage + 1, progress.step, 1.0
        if rank == 0 and (progress.seconds - stored > 60 or progress.gone >= 1.0):
            stored = progress.seconds
            rounded = {name: round(value, 4) for name, value in vars(progress).items()}
            note(state, stage=stage, rate=round(training.learning_rate(), 6), **rounded)
            save({"training": training.state_dict(), "stage": stage, "begun": begun}, state / "denoiser.pt")


def write_checkpoint(state: Path, path: Path) -> None:
    """Write the averaged weights that the state folder holds as one SD 1.x file."""
    words, settings = CompactVocabulary.of(list_texts(), Tokenizer().encode), DenoiserSettings()
    stored = torch.load(state / "denoiser.pt", weights_only=True)
    training = DenoiserTraining(Denoiser(settings, len(words)), settings)
    training.load_state_dict(stored["training"])
    vae = torch.load(state / "vae.pt", weights_only=True)
    with training.average.applied(training.model):
        text = {name: tensor.clone() for name, tensor in training.model.text.state_dict().items()}
        table = next(name for name in text if name.endswith("token_embedding.weight"))
        text[table] = words.expand(text[table])
        metadata = describe(settings, training.progress.step)
        save_checkpoint(path, unet=training.model.unet.state_dict(), vae=vae, text=text, metadata=metadata)


def describe(settings: DenoiserSettings, steps: int) -> dict[str, str]:
    """Return the file's metadata: what tensor shapes cannot tell, and what a person may want to know."""
    return {
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": "stable-diffusion-v1",
        "modelspec.implementation": "https://github.com/Stability-AI/generative-models",
        "modelspec.title": "Tagbrush Mini",
        "modelspec.author": "Tagbrush",
        "modelspec.description": f"Draws {len(KNOWN)} things and {len(SHAPES)} shapes on {len(COLOURS)} grounds.",
        "modelspec.license": "MIT; pictures learnt from Noto Color Emoji (SIL OFL 1.1, Apache-2.0)",
        "modelspec.resolution": f"{CANVAS}x{CANVAS}",
        "modelspec.prediction_type": "v",
        "tagbrush.unet.heads": str(settings.heads),
        "tagbrush.unet.groups": str(settings.groups),
        "tagbrush.vae.groups": str(autoencoder.AutoencoderSettings().groups),
        "tagbrush.clip.heads": str(settings.text_heads),
        "tagbrush.cfg_scale": "3",
        "tagbrush.training_steps": str(steps),
    }


def make_examples(checkpoint: Path, root: Path) -> None:
    """Train the four example networks for a checkpoint and write them, their previews and sidecars below `root`."""
    model = load(checkpoint)
    known_as = (hashlib.sha256(checkpoint.read_bytes()).hexdigest()[:10], checkpoint.stem)
    lora, hypernetwork, word, negative = (root / relative for relative in cards.EXAMPLES)
    for path in (lora, hypernetwork, word):
        path.parent.mkdir(parents=True, exist_ok=True)
    examples.train_lora(model, lora)
    examples.train_hypernetwork(model, hypernetwork, known_as)
    examples.train_embedding(model, word, examples.NEW_EMOJI, known_as, like=examples.NEAREST_WORD)
    examples.train_negative(model, negative)
    cards.make_cards(model, root)


def main() -> None:
    """Run every stage whose result is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="folder for weights and figures between stages")
    parser.add_argument("--vae-seconds", type=float, default=480.0)
    parser.add_argument("--denoiser-seconds", type=float, default=6000.0)
    parser.add_argument("--output", type=Path, default=CHECKPOINT, help="the checkpoint to write")
    parser.add_argument("--export-only", action="store_true", help="write what there is; train no further")
    arguments = parser.parse_args()
    arguments.state.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if not (arguments.state / "vae.pt").exists():
        run_workers(work_autoencoder, WORKERS, arguments.state, arguments.vae_seconds)
    if not (arguments.state / f"latents-{WORKERS - 1}.pt").exists():
        run_workers(work_latents, WORKERS, arguments.state)
    if not arguments.export_only:
        run_workers(work_denoiser, WORKERS, arguments.state, arguments.denoiser_seconds)
    write_checkpoint(arguments.state, arguments.output)
    if not arguments.export_only:
        make_examples(arguments.output, CHECKPOINT.parents[2])


if __name__ == "__main__":
    main()
