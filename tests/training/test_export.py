"""A trained model survives the way into an SD 1.x file and back through diffusers' own conversion."""

from pathlib import Path

import pytest
import torch
from diffusers.loaders.single_file_utils import (
    convert_ldm_clip_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
)
from safetensors.torch import load_file

from modules.training.autoencoder import AutoencoderSettings, build_autoencoder
from modules.training.denoiser import DenoiserSettings, build_text_encoder, build_unet
from modules.training.export import save_checkpoint, schedule_to_original

SETTINGS = DenoiserSettings(
    widths=(8, 16, 24), attention=(True, False, True), heads=2, groups=4, text_width=8, text_layers=2
)


def randomise(module: torch.nn.Module) -> torch.nn.Module:
    """Give every parameter a value that fp16 holds exactly, so that a swap of two zero tensors cannot hide."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_((torch.randn_like(parameter) * 0.3).half().float())
    return module.eval()


@pytest.fixture(scope="module")
def networks() -> dict[str, torch.nn.Module]:
    torch.manual_seed(0)
    return {
        "unet": randomise(build_unet(SETTINGS)),
        "vae": randomise(build_autoencoder(AutoencoderSettings(widths=(8, 16, 16)))),
        "text": randomise(build_text_encoder(SETTINGS, 50)),
    }


@pytest.fixture(scope="module")
def stored(networks: dict[str, torch.nn.Module], tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    path: Path = tmp_path_factory.mktemp("export") / "model.safetensors"
    save_checkpoint(path, **{name: part.state_dict() for name, part in networks.items()}, metadata={})
    return load_file(path)


def check_same(original: torch.nn.Module, converted: dict[str, torch.Tensor]) -> None:
    weights = original.state_dict()
    assert set(converted) == set(weights)
    for name, tensor in converted.items():
        assert torch.equal(tensor.float(), weights[name]), name


def test_the_unet_comes_back_through_the_conversion_of_diffusers(networks, stored):
    converted = convert_ldm_unet_checkpoint(dict(stored), dict(networks["unet"].config))
    check_same(networks["unet"], converted)


def test_the_autoencoder_comes_back_through_the_conversion_of_diffusers(networks, stored):
    converted = convert_ldm_vae_checkpoint(dict(stored), dict(networks["vae"].config))
    check_same(networks["vae"], converted)


def test_the_text_encoder_comes_back_through_the_conversion_of_diffusers(networks, stored):
    converted = convert_ldm_clip_checkpoint(dict(stored))
    named = {name.removeprefix("text_model."): tensor for name, tensor in converted.items()}
    assert named.pop("embeddings.position_ids").tolist() == [list(range(77))]
    check_same(networks["text"], named)


def test_networks_are_stored_in_half_and_tables_in_full_precision(stored):
    tables = schedule_to_original()
    for name, tensor in stored.items():
        if tensor.is_floating_point():
            assert tensor.dtype == (torch.float32 if name in tables else torch.float16), name


def test_the_schedule_is_the_scaled_linear_one_of_sd1(stored):
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    torch.testing.assert_close(stored["betas"], scheduler.betas)
    torch.testing.assert_close(stored["alphas_cumprod"], scheduler.alphas_cumprod, rtol=1e-5, atol=1e-7)
