"""A plain DDIM loop over the networks in training: milestones, previews and figures, without the application."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from modules.training import diffusion
from modules.training.autoencoder import SCALE_FACTOR


@torch.no_grad()
def sample_latents(
    unet: UNet2DConditionModel,
    context: torch.Tensor,
    against: torch.Tensor,
    seeds: Sequence[int],
    *,
    steps: int = 12,
    scale: float = 3.0,
) -> torch.Tensor:
    """Draw latents (B, 4, 16, 16) with a v-prediction UNet for encoded prompts and negative prompts (B, 77, W).

    Deterministic DDIM (Song et al. 2020, arXiv:2010.02502); each seed has its own generator.
    """
    both = torch.cat([against.expand_as(context), context])
    latents = torch.stack([torch.randn(4, 16, 16, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
    shares = diffusion.make_alphas_cumprod()
    times = torch.linspace(diffusion.STEPS - 1, 0, steps + 1).long()
    for now, then in pairwise(times):
        at = now.expand(len(seeds))
        alpha, sigma = diffusion.signal_and_noise(shares, at)
        without, wanted = unet(latents.repeat(2, 1, 1, 1), at.repeat(2), both).sample.chunk(2)
        guided = without + scale * (wanted - without)
        clean = diffusion.clean_from_velocity(latents, guided, alpha, sigma)
        if then > 0:
            noise = diffusion.noise_from_velocity(latents, guided, alpha, sigma)
            latents = diffusion.add_noise(clean, noise, *diffusion.signal_and_noise(shares, then.expand(len(seeds))))
    return clean


@torch.no_grad()
def decode(vae: AutoencoderKL, latents: torch.Tensor) -> torch.Tensor:
    """Turn scaled latents (B, 4, h, w) into pictures (B, 3, 8h, 8w) in [0, 1]."""
    pictures = [vae.decode(chunk / SCALE_FACTOR).sample for chunk in latents.split(8)]
    return torch.cat(pictures).mul(0.5).add(0.5).clamp(0, 1)
