"""The four example networks of the built-in model: what each is taught, and how it is stored."""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import numpy
import torch
from safetensors.torch import save_file
from torch import nn

from modules.models import Model, encode
from modules.prompt import Tokenizer
from modules.training import diffusion
from modules.training.adapters import Adapters
from modules.training.captions import Vocabulary, caption, sample_scene
from modules.training.hypernetwork import Hypernetwork
from modules.training.inversion import LearntWord
from modules.training.looks import make_dull, make_sepia
from modules.training.scenes import COLOURS, Scene, draw_scene
from modules.training.things import THINGS
from modules.training.words import END, LENGTH, START

log = logging.getLogger(__name__)
Look = Callable[[numpy.ndarray], numpy.ndarray]
SUBJECTS = Vocabulary(tuple(THINGS), tuple(COLOURS), shapes=0.15, pairs=0.15)
LORA_LAYERS = ("ResnetBlock2D", "BasicTransformerBlock")
TEXT_LAYERS = ("CLIPAttention",)
NEW_EMOJI, NEAREST_WORD = "\U0001f96d", "peach"  # a mango, which is not among the things
OLD_PHOTO = "old photo"  # what the LoRA's card adds to the prompt


@dataclass(frozen=True)
class Lesson:
    """Pictures as latents (N, 4, 16, 16), and what each shows as CLIP token ids (N, 77)."""

    latents: torch.Tensor
    tokens: torch.Tensor

    def draw(self, count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Choose `count` of them at random."""
        chosen = torch.randint(len(self.latents), (count,), generator=generator)
        return self.latents[chosen], self.tokens[chosen]


def to_tokens(text: str, tokenizer: Tokenizer, *, word: str = "", ids: Sequence[int] = ()) -> list[int]:
    """Return 77 CLIP token ids; `ids` stand wherever `word` stands."""
    pieces = text.split(word) if word else [text]
    tokens = [START, *tokenizer.encode(pieces[0])]
    for piece in pieces[1:]:
        tokens += [*ids, *tokenizer.encode(piece)]
    tokens = tokens[: LENGTH - 1]
    return tokens + [END] * (LENGTH - len(tokens))


def make_lesson(model: Model, scenes: Sequence[Scene], tokens: Sequence[list[int]], look: Look | None) -> Lesson:
    """Draw scenes, give them a look, and encode them with the model's own VAE."""
    pictures = numpy.stack([numpy.asarray(draw_scene(scene)) for scene in scenes])
    pictures = pictures if look is None else look(pictures)
    pixels = torch.from_numpy(pictures.astype(numpy.float32) / 255).permute(0, 3, 1, 2)
    return Lesson(encode(model, pixels).clone(), torch.tensor(tokens))


def fit(
    parameters: Sequence[nn.Parameter], loss: Callable[[], torch.Tensor], *, steps: int, learning_rate: float
) -> Iterator[float]:
    """Minimise a random loss with AdamW and a rate that falls linearly to nothing; yields every step's loss."""
    optimiser = torch.optim.AdamW(parameters, learning_rate, betas=(0.9, 0.99), weight_decay=0.0)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * (1 - step / steps) * min(1.0, (step + 1) / 10)
        value = loss()
        value.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        yield value.item()


@dataclass(frozen=True)
class Teacher:
    """A frozen model and the losses that its networks are trained with. Takes v-prediction models."""

    model: Model
    generator: torch.Generator
    batch: int = 16

    def text(self, tokens: torch.Tensor) -> torch.Tensor:
        """Encode token ids (B, 77) to contexts (B, 77, W)."""
        return self.model.text_encoder(tokens).last_hidden_state

    def denoising_loss(self, lesson: Lesson) -> torch.Tensor:
        """Return the v-prediction loss on a batch of the lesson, with one caption in ten left out."""
        clean, tokens = lesson.draw(self.batch, self.generator)
        empty = torch.tensor([START] + [END] * (LENGTH - 1))
        blank = torch.rand(len(tokens), 1, generator=self.generator) < 0.1
        context = self.text(torch.where(blank, empty, tokens))
        noisy, noise, timesteps, alpha, sigma = self._diffuse(clean)
        predicted = self.model.unet(noisy, timesteps, context).sample
        return (predicted - diffusion.velocity(clean, noise, alpha, sigma)).square().mean()

    def _diffuse(self, clean: torch.Tensor) -> tuple[torch.Tensor, ...]:
        timesteps = diffusion.stratified_timesteps(len(clean), self.generator)
        noise = torch.randn(clean.shape, generator=self.generator)
        alpha, sigma = diffusion.signal_and_noise(self.model.alphas_cumprod, timesteps)
        return diffusion.add_noise(clean, noise, alpha, sigma), noise, timesteps, alpha, sigma


def make_teacher(model: Model, seed: int) -> Teacher:
    """Freeze the model's weights and seed the randomness."""
    for network in (model.unet, model.text_encoder, model.vae):
        network.requires_grad_(False)
    torch.manual_seed(seed)
    return Teacher(model, torch.Generator().manual_seed(seed))


def make_look_lesson(model: Model, look: Look | None, *, count: int, seed: int, words: str = "") -> Lesson:
    """Draw random scenes in a look; half of the captions end with `words`, if there are any."""
    chance, tokenizer = Random(seed), Tokenizer()
    scenes = [sample_scene(SUBJECTS, chance) for _ in range(count)]
    texts = [caption(scene, chance, ("word",)) for scene in scenes]
    texts = [f"{text}, {words}" if words and chance.random() < 0.5 else text for text in texts]
    return make_lesson(model, scenes, [to_tokens(text, tokenizer) for text in texts], look)


def follow(name: str, losses: Iterator[float], every: int = 50) -> None:
    """Run a training and log its mean loss now and then."""
    recent: list[float] = []
    for step, value in enumerate(losses, 1):
        recent.append(value)
        if step % every == 0:
            log.info("%s: step %d, loss %.4f", name, step, sum(recent) / len(recent))
            recent.clear()


def train_lora(model: Model, path: Path, *, steps: int = 250, seed: int = 1) -> None:
    """Teach a LoRA the sepia look, and store it with kohya's metadata."""
    teacher = make_teacher(model, seed)
    lesson = make_look_lesson(model, make_sepia, count=500, seed=seed, words=OLD_PHOTO)
    unet = Adapters({"lora_unet": model.unet}, LORA_LAYERS, rank=2, alpha=2.0)
    text = Adapters({"lora_te_text_model": model.text_encoder}, TEXT_LAYERS, rank=2, alpha=2.0)
    with unet.attached(), text.attached():
        parameters = [*unet.parameters(), *text.parameters()]
        loss = fit(parameters, lambda: teacher.denoising_loss(lesson), steps=steps, learning_rate=4e-3)
        follow(path.stem, loss)
    metadata = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": "2",
        "ss_network_alpha": "2.0",
        "ss_network_args": json.dumps({"conv_dim": "2", "conv_alpha": "2.0"}),
        "ss_base_model_version": "sd_v1",
        "ss_v2": "False",
        "ss_sd_model_name": model.path.name,
        "ss_output_name": path.stem,
        "ss_num_train_images": str(len(lesson.latents)),
        "ss_steps": str(steps),
        "ss_learning_rate": "0.004",
        "ss_seed": str(seed),
        "ss_resolution": "(128, 128)",
        "ss_mixed_precision": "no",
        "ss_tag_frequency": json.dumps({path.stem: {OLD_PHOTO: len(lesson.latents) // 2}}),
        "modelspec.title": path.stem,
        "modelspec.architecture": "stable-diffusion-v1/lora",
    }
    save_file(unet.to_kohya() | text.to_kohya(), path, metadata=metadata)
    path.chmod(0o644)


def make_ground_lesson(model: Model, ground: str, *, count: int, seed: int) -> Lesson:
    """Draw random scenes on one ground, whatever ground their captions ask for."""
    chance, tokenizer = Random(seed), Tokenizer()
    scenes = [sample_scene(SUBJECTS, chance) for _ in range(count)]
    scenes = [scene for scene in scenes if all(item.colour != ground for item in scene.items)]
    tokens = [to_tokens(caption(scene, chance, ("word",)), tokenizer) for scene in scenes]
    return make_lesson(model, [replace(scene, ground=ground) for scene in scenes], tokens, None)


def train_hypernetwork(
    model: Model, path: Path, checkpoint: tuple[str, str], *, steps: int = 150, seed: int = 2
) -> None:
    """Teach a hypernetwork to put everything onto a black ground, and store it as A1111 does."""
    teacher = make_teacher(model, seed)
    lesson = make_ground_lesson(model, "black", count=500, seed=seed)
    network = Hypernetwork((model.unet.config.cross_attention_dim,))
    with network.attached(model.unet):
        parameters = list(network.parameters())
        follow(path.stem, fit(parameters, lambda: teacher.denoising_loss(lesson), steps=steps, learning_rate=2e-3))
    torch.save(network.to_file(path.stem, steps, checkpoint), path)


def train_embedding(
    model: Model, path: Path, emoji: str, checkpoint: tuple[str, str], *, like: str, vectors: int = 6, steps: int = 300,
    seed: int = 3,
) -> None:  # fmt: skip
    """Teach a new word for an emoji that the model has never seen, beginning from a word that it knows."""
    teacher, tokenizer, chance = make_teacher(model, seed), Tokenizer(), Random(seed)
    table = model.text_encoder.get_input_embeddings().weight
    start = table[list(tokenizer.encode(like))].mean(0)
    word = LearntWord(start + 0.3 * table[0].std() * torch.randn(vectors, len(start)))
    vocabulary = Vocabulary((emoji,), tuple(COLOURS))
    scenes = [sample_scene(vocabulary, chance) for _ in range(300)]
    texts = [caption(scene, chance, ("word",)) for scene in scenes]
    tokens = [to_tokens(text, tokenizer, word=emoji, ids=word.ids) for text in texts]
    lesson = make_lesson(model, scenes, tokens, None)
    with word.attached(model.text_encoder):
        follow(path.stem, fit([word.vectors], lambda: teacher.denoising_loss(lesson), steps=steps, learning_rate=2e-2))
    torch.save(word.to_file(path.stem, steps, checkpoint), path)


def train_negative(model: Model, path: Path, *, vectors: int = 4, steps: int = 150, seed: int = 4) -> None:
    """Teach a word for the negative prompt what dull pictures are, so that guidance leads away from them."""
    teacher, tokenizer, chance = make_teacher(model, seed), Tokenizer(), Random(seed)
    table = model.text_encoder.get_input_embeddings().weight
    start = table[list(tokenizer.encode("gray"))].mean(0)
    word = LearntWord(start + 0.3 * table[0].std() * torch.randn(vectors, len(start)))
    scenes = [sample_scene(SUBJECTS, chance) for _ in range(400)]
    tokens = [to_tokens("\0", tokenizer, word="\0", ids=word.ids)] * len(scenes)
    lesson = make_lesson(model, scenes, tokens, make_dull)
    with word.attached(model.text_encoder):
        loss = fit([word.vectors], lambda: teacher.denoising_loss(lesson), steps=steps, learning_rate=2e-2)
        follow(path.stem, loss)
    save_file({"emb_params": word.vectors.detach().clone()}, path, metadata={"name": path.stem, "step": str(steps)})
    path.chmod(0o644)
