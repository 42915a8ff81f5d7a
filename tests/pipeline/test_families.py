"""Pictures of SD 2, SDXL and its refiner, against the same made with diffusers' and transformers' own forward alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from modules.catalogue import Catalogue, Folders
from modules.params import Settings, make_request
from modules.pipeline import generate, plan
from modules.prompt import BOS, EOS, Tokenizer
from tests.models.small import FAMILIES, Networks, Structure, make_networks, write

from .conftest import Person, Worker

NAMES = ("sd2", "sd2_v", "sdxl", "sdxl_v", "sdxl_refiner")
# Told in the metadata rather than guessed from the UNet, which is random here.
STRUCTURES = {name: replace(FAMILIES[name], prediction=FAMILIES[name].prediction or "epsilon") for name in NAMES}
WIDTH, HEIGHT, STEPS, SEED, CFG = 128, 64, 4, 3, 6.0  # multiples of 64: see modules.models.upsample
PROMPT = "a photo of a cat"
TOKENIZER = Tokenizer()
TOLERANCE = 1e-4  # of the largest latent; 7e-6 was measured


@pytest.fixture(scope="module")
def networks() -> dict[str, Networks]:
    return {name: make_networks(structure) for name, structure in STRUCTURES.items()}


@pytest.fixture(scope="module")
def worker(networks: dict[str, Networks], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    folder = tmp_path_factory.mktemp("families")
    for name, structure in STRUCTURES.items():
        write(folder / f"{name}.safetensors", structure, networks[name])
    folders = Folders(folder, checkpoints=(folder,), vaes=(), loras=(), hypernetworks=(), embeddings=())
    with Catalogue(folders, folder / "index.db") as catalogue:
        yield Worker(catalogue)


def ids(text: str, pad: int) -> torch.Tensor:
    row = [BOS, *TOKENIZER.encode(text), EOS]
    return torch.tensor([row + [pad] * (77 - len(row))])


def conditioning(
    structure: Structure, networks: Networks, text: str, *, negative: bool
) -> tuple[torch.Tensor, dict[str, torch.Tensor] | None]:
    """What the UNet reads, as Stability AI's configurations say it."""
    first, second = networks.text_encoder, networks.text_encoder_2
    if structure.family == "sd2":
        states = first(ids(text, 0), output_hidden_states=True).hidden_states
        return first.final_layer_norm(states[-2]), None
    outputs = [first(ids(text, EOS), output_hidden_states=True)] if first is not None else []
    outputs.append(second(ids(text, 0), output_hidden_states=True))
    tokens = torch.cat([output.hidden_states[-2] for output in outputs], dim=-1)
    pooled = outputs[-1].text_embeds
    if negative and text == "":
        tokens, pooled = torch.zeros_like(tokens), torch.zeros_like(pooled)
    last = [2.5 if negative else 6.0] if structure.family == "sdxl_refiner" else [HEIGHT, WIDTH]
    return tokens, {"text_embeds": pooled, "time_ids": torch.tensor([[HEIGHT, WIDTH, 8.0, 16.0, *last]])}


def expected(names: Sequence[str], networks: dict[str, Networks], negative: str) -> torch.Tensor:
    """(1, 4, H/8, W/8) latents after Euler's steps (Karras et al. 2022) with guidance; each step has its model."""
    alphas = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2, 0)
    levels = ((1 - alphas) / alphas).sqrt()
    times = torch.linspace(999, 0, STEPS, dtype=torch.float64)
    logs, low = levels.log(), times.floor().long()
    high, share = times.ceil().long(), times - times.floor()
    sigmas = [*((1 - share) * logs[low] + share * logs[high]).exp().tolist(), 0.0]
    x = torch.randn(1, 4, HEIGHT // 8, WIDTH // 8, generator=torch.Generator().manual_seed(SEED)) * sigmas[0]
    for name, time, sigma, following in zip(names, times.tolist(), sigmas, sigmas[1:], strict=False):
        scaled, denoised = x / (sigma**2 + 1) ** 0.5, []
        for text, is_negative in ((PROMPT, False), (negative, True)):
            tokens, added = conditioning(STRUCTURES[name], networks[name], text, negative=is_negative)
            output = networks[name].unet(scaled, time, tokens, added_cond_kwargs=added).sample
            if STRUCTURES[name].prediction == "v":
                denoised.append(x / (sigma**2 + 1) - output * sigma / (sigma**2 + 1) ** 0.5)
            else:
                denoised.append(x - sigma * output)
        guided = denoised[1] + CFG * (denoised[0] - denoised[1])
        x = x + (x - guided) / sigma * (following - sigma)
    return x


@pytest.mark.parametrize("negative", ["", "wet"])
@pytest.mark.parametrize(
    ("models", "fields"),
    [
        *((STEPS * (name,), {}) for name in NAMES),
        (
            ("sdxl", "sdxl", "sdxl_refiner", "sdxl_refiner"),
            {"refiner_checkpoint": "sdxl_refiner", "refiner_switch_at": 0.5},
        ),
    ],
    ids=[*NAMES, "sdxl with its refiner"],
)
def test_a_picture_is_what_the_networks_say_by_themselves(
    models: tuple[str, ...],
    fields: dict[str, Any],
    negative: str,
    worker: Worker,
    networks: dict[str, Networks],
    latents: list[torch.Tensor],
) -> None:
    # D014, P023, P081, P086, P087
    asked = {"prompt": PROMPT, "negative_prompt": negative, "seed": SEED, "steps": STEPS, "cfg_scale": CFG, **fields}
    request = make_request({**asked, "width": WIDTH, "height": HEIGHT, "sampler_name": "Euler"})
    settings = Settings(randn_source="CPU", sd_model_checkpoint=models[0], sdxl_crop_top=8, sdxl_crop_left=16)
    person = Person()
    generate(plan(request, settings, worker.catalogue, worker.tokenizer), worker, person, person)
    with torch.no_grad():
        wanted = expected(models, networks, negative)
    (found,) = latents
    assert (found - wanted).abs().max() <= TOLERANCE * wanted.abs().max()
    assert person.pictures[0].image.size == (WIDTH, HEIGHT)
