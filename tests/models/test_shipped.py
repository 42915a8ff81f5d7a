"""The checkpoints that Tagbrush ships load like any other file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from modules.catalogue.examine import examine
from modules.models import decode, load, preview

SHIPPED = sorted((Path(__file__).parents[2] / "models" / "Stable-diffusion").glob("tagbrush-*.safetensors"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_checkpoint_says_its_size_and_guidance_and_gives_pictures(path: Path) -> None:
    model, facts = load(path), examine("checkpoint", path)
    assert facts.cfg_scale == pytest.approx(3, abs=1)
    width, height = facts.native_size or (0, 0)
    assert (width, height) == (128, 128)
    latents = torch.randn(1, 4, height // 8, width // 8, generator=torch.Generator().manual_seed(0))
    tokens = torch.full((1, 77), 49407)
    with torch.inference_mode():
        context = model.text_encoder(tokens).last_hidden_state
        assert model.unet(latents, 500, context).sample.isfinite().all()
    pixels = decode(model, latents)
    assert pixels.shape == (1, 3, height, width)
    assert preview(model, latents).shape == (1, height // 8, width // 8, 3)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_preview_has_the_colours_of_the_picture(path: Path) -> None:
    model = load(path)
    flat = torch.tensor([[0.1, 0.2, 0.8], [0.9, 0.8, 0.1], [0.95, 0.95, 0.95]])
    pixels = flat[:, :, None, None].expand(-1, 3, 64, 64)
    with torch.inference_mode():
        latents = model.vae.encode(pixels * 2 - 1).latent_dist.mean * model.scale_factor
    seen = preview(model, latents).float().mean(dim=(1, 2)) / 255
    torch.testing.assert_close(seen, flat, atol=0.2, rtol=0)
