"""Pictures to latents: the middle of the distribution that the VAE gives, or a draw from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from modules.models import Model, encode
from modules.params import LATENT_PIXELS
from modules.sampling.noise import SEEDS

Encode = Callable[[Model, torch.Tensor], torch.Tensor]
"""`(model, (B, 3, H, W) pixels in [0, 1]) -> (B, 4, H/8, W/8)` latents of the UNet's scale."""


class SeededEncoder:
    """Draws, by each picture's own seed.

    A1111 draws from torch's one generator, which it seeds when it draws a picture's noise. What it encodes after that,
    for the second stage or for an inpainting model, goes by the seed; what it encodes before, by chance: there we take
    the middle. The draws are about 1e-5 apart, which shows only where a sampler enlarges rounding errors.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self._numbers = [torch.Generator().manual_seed(seed % SEEDS) for seed in seeds]

    def __call__(self, model: Model, pixels: torch.Tensor) -> torch.Tensor:
        """(B, 4, H/8, W/8) latents of (B or 1, 3, H, W) pixels, for as many pictures as there are seeds."""
        shape = (model.vae.config.latent_channels, pixels.shape[-2] // LATENT_PIXELS, pixels.shape[-1] // LATENT_PIXELS)
        noise = torch.stack([torch.randn(shape, generator=numbers) for numbers in self._numbers])
        return encode(model, pixels, noise)  # one picture is encoded once, whatever the number of draws
