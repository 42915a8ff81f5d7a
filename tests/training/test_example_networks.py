"""What a training leaves in a file does in the application what it did while it was trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from modules.conditioning import encode
from modules.models import Model, load, patched
from modules.networks import load_embedding, load_hypernetwork, load_lora
from modules.prompt import Tokenizer, parse_prompt
from modules.training.adapters import Adapters
from modules.training.autoencoder import AutoencoderSettings, build_autoencoder
from modules.training.denoiser import DenoiserSettings, build_text_encoder, build_unet
from modules.training.examples import LORA_LAYERS, TEXT_LAYERS, to_tokens
from modules.training.export import save_checkpoint
from modules.training.hypernetwork import Hypernetwork
from modules.training.inversion import LearntWord

SETTINGS = DenoiserSettings(widths=(8, 16), attention=(False, True), groups=4, text_width=8)
FACTS = {
    "tagbrush.unet.heads": "2",
    "tagbrush.unet.groups": "4",
    "tagbrush.vae.groups": "4",
    "tagbrush.clip.heads": "2",
    "modelspec.prediction_type": "v",
    "modelspec.resolution": "64x64",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    torch.manual_seed(0)
    parts = {
        "unet": build_unet(SETTINGS),
        "vae": build_autoencoder(AutoencoderSettings(widths=(8, 8, 8, 8))),
        "text": build_text_encoder(SETTINGS, 49408),
    }
    with torch.no_grad():
        for parameter in parts["unet"].parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_checkpoint(path, **{name: part.state_dict() for name, part in parts.items()}, metadata=FACTS)
    return load(path)


@torch.no_grad()
def paint(model: Model, words: str = "a red apple") -> torch.Tensor:
    """The UNet's answer to a fixed question about some words."""
    context = model.text_encoder(torch.tensor([to_tokens(words, Tokenizer())])).last_hidden_state
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    return model.unet(latents, torch.tensor([500]), context).sample


@torch.no_grad()
def shake(module: torch.nn.Module, amount: float = 0.2) -> None:
    """Move away from the beginning, where an untrained network does nothing."""
    for parameter in module.parameters():
        parameter.add_(torch.randn_like(parameter) * amount).copy_(parameter.half())


def test_an_untrained_network_changes_nothing(model: Model):
    before = paint(model)
    adapters = Adapters({"lora_unet": model.unet}, LORA_LAYERS)
    with adapters.attached(), Hypernetwork((8, 16)).attached(model.unet):
        torch.testing.assert_close(paint(model), before)


def test_a_trained_lora_does_the_same_from_its_file(model: Model, tmp_path: Path):
    torch.manual_seed(1)
    unet = Adapters({"lora_unet": model.unet}, LORA_LAYERS, rank=2, alpha=1.0)
    text = Adapters({"lora_te_text_model": model.text_encoder}, TEXT_LAYERS, rank=2, alpha=1.0)
    shake(unet)
    shake(text)
    before = paint(model)
    with unet.attached(), text.attached():
        expected = paint(model)
    assert torch.equal(paint(model), before)
    path = tmp_path / "look.safetensors"
    save_file(unet.to_kohya() | text.to_kohya(), path)
    patches, unmatched = load_lora(path).patches(model, 1.0, 1.0)
    assert not unmatched
    with patched(model, patches):
        torch.testing.assert_close(paint(model), expected, atol=1e-4, rtol=1e-3)
    assert not torch.allclose(expected, before, atol=1e-2)


def test_a_trained_hypernetwork_does_the_same_from_its_file(model: Model, tmp_path: Path):
    torch.manual_seed(2)
    network = Hypernetwork((8, 16))
    shake(network)
    before = paint(model)
    with network.attached(model.unet):
        expected = paint(model)
    path = tmp_path / "look.pt"
    torch.save(network.to_file("look", 10, ("0" * 10, "tiny")), path)
    loaded = load_hypernetwork(path)
    with patched(model, loaded.patches(model)):
        torch.testing.assert_close(paint(model), expected, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(expected, before, atol=1e-2)


def test_a_learnt_word_means_the_same_from_its_file(model: Model, tmp_path: Path):
    torch.manual_seed(3)
    word, tokenizer = LearntWord(torch.randn(3, 8)), Tokenizer()
    tokens = torch.tensor([to_tokens("an @ on a table", tokenizer, word="@", ids=word.ids)])
    with torch.no_grad(), word.attached(model.text_encoder):
        expected = model.text_encoder(tokens).last_hidden_state[0]
    path = tmp_path / "gizmo.pt"
    torch.save(word.to_file("gizmo", 10, ("0" * 10, "tiny")), path)
    vectors = {"gizmo": load_embedding(path).fitted(model)}
    prompt = parse_prompt("an gizmo on a table", steps=10)
    (conditioning,) = encode(model, [prompt], tokenizer=tokenizer, embeddings=vectors)
    torch.testing.assert_close(conditioning.at(0)[0][1].tokens, expected, atol=1e-5, rtol=1e-4)
