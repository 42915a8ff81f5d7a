"""A rough picture of unfinished latents: one small matrix product instead of the VAE."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from modules.models.model import Family, Model

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

SD1_WIDTHS = (128, 256, 512, 512)
SD1_RGB = ((0.298, 0.207, 0.208), (0.187, 0.286, 0.173), (-0.158, 0.189, 0.264), (-0.184, -0.271, -0.473))
"""Colour in [-1, 1] of each latent channel of SD 1's and SD 2's VAE, as its users have fitted it."""
SDXL_RGB = (
    (0.3448, 0.4168, 0.4395),
    (-0.1953, -0.0290, 0.0250),
    (0.1074, 0.0886, -0.0163),
    (-0.3730, -0.2499, -0.2088),
)
"""The same of SDXL's."""
KNOWN: Mapping[Family, tuple[tuple[float, ...], ...]] = MappingProxyType(
    {"sd1": SD1_RGB, "sd2": SD1_RGB, "sdxl": SDXL_RGB, "sdxl_refiner": SDXL_RGB}
)
SAMPLES, CELLS = 4, 8


def preview(model: Model, latents: torch.Tensor) -> torch.Tensor:
    """(B, 4, h, w) latents of the UNet's scale -> (B, h, w, 3) uint8 on the CPU, one pixel for each latent."""
    pixels = _with_one(latents.float().cpu()) @ model.rgb
    return pixels.nan_to_num().clamp(0, 1).mul(255).round().to(torch.uint8)


def latent_to_rgb(vae: AutoencoderKL, scale_factor: float, family: Family = "sd1") -> torch.Tensor:
    """(5, 3) float32: the linear map from a latent and a 1 to the colour in [0, 1] that suits this VAE.

    Those of the families' own VAEs are known, which all have one structure; a VAE of another one is shown a few
    coloured pictures, and the map is their least-squares fit.
    """
    if tuple(vae.config.block_out_channels) == SD1_WIDTHS:
        return torch.cat([torch.tensor(KNOWN[family]) / 2, torch.full((1, 3), 0.5)])
    cell = 2 ** (len(vae.config.block_out_channels) - 1)
    colours = _colours()  # (samples, 3, cells, cells)
    pictures = functional.interpolate(colours, scale_factor=cell, mode="bilinear", align_corners=False)
    with torch.inference_mode():
        given = (pictures * 2 - 1).to(vae.device, vae.dtype)
        latents = vae.encode(given).latent_dist.mean.float().cpu() * scale_factor
    seen = _with_one(latents).flatten(0, 2)  # (samples * cells * cells, 5)
    wanted = functional.avg_pool2d(pictures, cell).movedim(1, -1).flatten(0, 2)
    return torch.linalg.lstsq(seen.nan_to_num().clone(), wanted, driver="gelsd").solution


def _colours() -> torch.Tensor:
    """Fields of colour that vary smoothly, half of them strongly, as pictures do; the same on every call."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(SAMPLES, 3, CELLS // 4, CELLS // 4, generator=generator)
    fine = torch.rand(SAMPLES, 3, CELLS, CELLS, generator=generator)
    smooth = functional.interpolate(coarse, size=CELLS, mode="bilinear", align_corners=False)
    weight = torch.linspace(0, 0.5, SAMPLES).view(-1, 1, 1, 1)
    return smooth.lerp(fine, weight)


def _with_one(latents: torch.Tensor) -> torch.Tensor:
    """(B, 4, h, w) -> (B, h, w, 5)"""
    channels_last = latents.movedim(1, -1)
    return torch.cat([channels_last, torch.ones_like(channels_last[..., :1])], dim=-1)
