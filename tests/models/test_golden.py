"""The networks compute what A1111 computes on the same checkpoint."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from modules.models import Model, decode, encode, load, preview
from modules.models.preview import SD1_RGB
from tests.golden_models import NAMES, VAE_NAME, write_golden_models
from tests.rounding import rounds_as_the_reference

Golden = Callable[[str], torch.Tensor]
TOLERANCE = 2e-5


def noise_at(model: Model, x: torch.Tensor, timestep: float, context: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return model.unet(x, torch.full((len(x),), timestep), context).sample


@pytest.mark.parametrize("timestep", ["0", "1", "500", "500.37", "999"])
def test_the_unet_at_whole_and_broken_timesteps(model: Model, golden: Golden, timestep: str) -> None:
    got = noise_at(model, golden("x"), float(timestep), golden("ctx"))
    torch.testing.assert_close(got, golden(f"unet/t{timestep}"), atol=TOLERANCE, rtol=0)


def test_the_unet_with_a_longer_context_and_other_sizes(model: Model, golden: Golden) -> None:
    context = golden("ctx")
    longer = torch.cat([context, context.flip(0)], 1)
    for name, x, given in (
        ("unet/t500_long_ctx", golden("x"), longer),
        ("unet/8x8_t500", golden("x_8x8"), context[:1]),
        ("unet/16x24_t500", golden("x_16x24"), context[:1]),
    ):
        torch.testing.assert_close(noise_at(model, x, 500, given), golden(name), atol=TOLERANCE, rtol=0)


def test_decoding(model: Model, golden: Golden) -> None:
    wanted = (golden("vae/decoded") / 2 + 0.5).clamp(0, 1)
    torch.testing.assert_close(decode(model, golden("vae/latent_in")), wanted, atol=TOLERANCE, rtol=0)


def test_encoding_to_the_mean_and_with_noise(model: Model, golden: Golden) -> None:
    pixels = golden("vae/image_in_0_1")
    mean, spread = golden("vae/moments_mean"), torch.exp(golden("vae/moments_logvar") / 2)
    torch.testing.assert_close(encode(model, pixels), mean * 0.18215, atol=TOLERANCE, rtol=0)
    noise = torch.ones_like(mean)
    torch.testing.assert_close(encode(model, pixels, noise), (mean + spread) * 0.18215, atol=TOLERANCE, rtol=0)


def test_a_batch_is_decoded_and_encoded_like_its_pictures_alone(model: Model, golden: Golden) -> None:
    latents = golden("vae/latent_in")
    together = decode(model, latents)
    assert torch.equal(together, torch.cat([decode(model, latent[None]) for latent in latents]))
    assert torch.equal(encode(model, together), torch.cat([encode(model, picture[None]) for picture in together]))


def test_the_text_encoder(model: Model, golden: Golden) -> None:
    with torch.inference_mode():
        got = model.text_encoder(golden("clip/tokens")).last_hidden_state
    torch.testing.assert_close(got, golden("clip/last"), atol=TOLERANCE, rtol=0)


def test_the_known_preview_colours_of_sd1(golden: Golden) -> None:
    got = torch.einsum("bchw,cr->brhw", golden("vae/latent_in"), torch.tensor(SD1_RGB))
    torch.testing.assert_close(got, golden("vae/approx_cheap"), atol=TOLERANCE, rtol=0)


def test_a_preview_has_one_byte_pixel_for_each_latent(model: Model, golden: Golden) -> None:
    got = preview(model, golden("vae/latent_in"))
    assert got.shape == (2, 16, 16, 3)
    assert got.dtype is torch.uint8


def test_the_other_reference_models_are_the_references_and_of_their_kinds(tmp_path: Path) -> None:
    write_golden_models(tmp_path / "checkpoints", tmp_path / "vaes")
    files = [tmp_path / "checkpoints" / f"{name}.safetensors" for name in NAMES] + [tmp_path / "vaes" / VAE_NAME]
    hashes = [hashlib.sha256(file.read_bytes()).hexdigest()[:10] for file in files]
    assert hashes == ["3b44911865", "4cf2f09e20", "6bec885592", "0dfbbba5d3", "c9f22cc9f1"]
    models = [load(file) for file in files[:4]]
    assert [model.prediction_type for model in models] == ["epsilon", "v", "epsilon", "epsilon"]
    assert [model.variant for model in models] == ["base", "base", "inpaint", "base"]


def test_on_a_processor_like_the_references_the_unet_and_the_text_encoder_are_the_references_bit_for_bit(
    model: Model, golden: Golden
) -> None:
    if not rounds_as_the_reference():
        pytest.skip("this processor rounds in another order than the reference's; other tests hold how near it comes")
    context = golden("ctx")
    for name, x, given in (("t500.37", "x", context), ("8x8_t500", "x_8x8", context[:1])):
        timestep = float(name.rpartition("t")[2])
        assert torch.equal(noise_at(model, golden(x), timestep, given), golden(f"unet/{name}"))
    with torch.inference_mode():
        assert torch.equal(model.text_encoder(golden("clip/tokens")).last_hidden_state, golden("clip/last"))
