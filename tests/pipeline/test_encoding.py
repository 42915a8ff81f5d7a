"""Pictures to latents, by the middle of the VAE's distribution or by a draw from it."""

from __future__ import annotations

import torch

from modules.models import Model, encode
from modules.pipeline.encoding import SeededEncoder


def test_a_draw_is_near_the_middle_and_goes_by_the_seed(model: Model) -> None:
    pixels = torch.rand((1, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    first, again, other = (SeededEncoder([seed])(model, pixels) for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    torch.testing.assert_close(first, encode(model, pixels), rtol=0, atol=1e-3)


def test_each_picture_of_a_batch_is_drawn_as_it_is_alone(model: Model) -> None:
    pixels = torch.rand((2, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    together = SeededEncoder([5, 6])(model, pixels)
    apart = torch.cat([SeededEncoder([seed])(model, row[None]) for seed, row in zip((5, 6), pixels, strict=True)])
    assert torch.equal(together, apart)


def test_one_picture_serves_a_whole_batch(model: Model) -> None:
    assert SeededEncoder([5, 2**64 - 1])(model, torch.zeros(1, 3, 64, 64)).shape == (2, 4, 8, 8)


def test_the_next_draw_is_another(model: Model) -> None:
    encoder, pixels = SeededEncoder([5]), torch.zeros(1, 3, 64, 64)
    assert not torch.equal(encoder(model, pixels), encoder(model, pixels))
