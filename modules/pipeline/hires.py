"""Hires fix: the picture of the first stage, enlarged, for the second one to start from (U003, U004)."""

from __future__ import annotations

import torch
from PIL import Image
from torch.nn import functional

from modules.images import resize_image
from modules.images.upscale import UPSCALERS
from modules.params import LATENT_PIXELS, LATENT_UPSCALERS

from .pictures import to_image, to_pixels
from .plans import Hires


def is_latent(hires: Hires) -> bool:
    """Whether latents are enlarged, rather than the picture that they decode to."""
    return hires.upscaler in LATENT_UPSCALERS


def enlarge_latents(latents: torch.Tensor, hires: Hires) -> torch.Tensor:
    """(B, 4, h, w) latents in the size of `hires`."""
    size = (hires.height // LATENT_PIXELS, hires.width // LATENT_PIXELS)
    mode, antialias = LATENT_UPSCALERS[hires.upscaler]
    return functional.interpolate(latents, size=size, mode=mode, antialias=antialias)


def enlarge_pixels(pixels: torch.Tensor, hires: Hires) -> torch.Tensor:
    """(B, 3, H, W) pixels in [0, 1] in the size of `hires`, on the CPU; cut to 8 bits as a picture is."""
    return torch.cat([to_pixels(enlarge_picture(to_image(picture), hires)) for picture in pixels])


def enlarge_picture(picture: Image.Image, hires: Hires) -> Image.Image:
    """The picture in the size of `hires`; what its upscaler leaves to that is done with Lanczos."""
    return resize_image(picture, hires.width, hires.height, upscaler=UPSCALERS.get(hires.upscaler))


def cut_to_size(latents: torch.Tensor, hires: Hires) -> torch.Tensor:
    """The middle of (B, 4, h, w) latents, in the size of the stage of `hires`."""
    width, height = hires.stage.width // LATENT_PIXELS, hires.stage.height // LATENT_PIXELS
    over_y, over_x = latents.shape[2] - height, latents.shape[3] - width
    return latents[:, :, over_y // 2 : over_y // 2 + height, over_x // 2 : over_x // 2 + width]
