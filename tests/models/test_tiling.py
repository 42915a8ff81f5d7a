"""Pictures whose opposite edges fit each other."""

from __future__ import annotations

import pytest
import torch

from modules.models import Model, decode, tiled


@pytest.fixture
def latents() -> torch.Tensor:
    return torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))


def test_moving_a_tiled_picture_over_its_edge_moves_nothing_else(model: Model, latents: torch.Tensor) -> None:
    # U007
    with tiled(model):
        moved = decode(model, latents.roll((3, 5), (2, 3)))
        torch.testing.assert_close(moved, decode(model, latents).roll((24, 40), (2, 3)), rtol=0, atol=1e-4)


def test_without_tiling_an_edge_is_an_edge(model: Model, latents: torch.Tensor) -> None:
    with tiled(model, False):
        moved = decode(model, latents.roll(3, 3))
        assert (moved - decode(model, latents).roll(24, 3)).abs().max() > 0.01


def test_the_unet_sees_no_edge_either(model: Model, latents: torch.Tensor) -> None:
    context = torch.randn(1, 77, 64, generator=torch.Generator().manual_seed(2))

    def ask(x: torch.Tensor) -> torch.Tensor:
        return model.unet(x, torch.tensor([500.0]), encoder_hidden_states=context).sample

    with torch.inference_mode(), tiled(model):
        torch.testing.assert_close(ask(latents.roll(8, 3)), ask(latents).roll(8, 3), rtol=0, atol=1e-4)


def test_afterwards_the_model_is_as_it_was(model: Model, latents: torch.Tensor) -> None:
    before = decode(model, latents)
    with pytest.raises(KeyboardInterrupt), tiled(model):
        raise KeyboardInterrupt
    assert torch.equal(decode(model, latents), before)
