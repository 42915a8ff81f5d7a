"""Pictures as tensors and back."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from modules.images import grid
from modules.models import Model, preview
from modules.params import LATENT_PIXELS

PREVIEW_SIDE = 512


def to_pixels(picture: Image.Image) -> torch.Tensor:
    """(1, 3, H, W) float32 in [0, 1] of an RGB picture."""
    return torch.from_numpy(np.array(picture, dtype=np.float32)).movedim(-1, 0)[None] / 255


def to_image(pixels: torch.Tensor) -> Image.Image:
    """The picture of (3, H, W) pixels in [0, 1]; cut to 8 bits, not rounded, as A1111 does."""
    return Image.fromarray((pixels * 255).to(torch.uint8).movedim(0, -1).cpu().numpy())


def preview_images(model: Model, latents: torch.Tensor) -> list[Image.Image]:
    """What each of (B, 4, h, w) latents may become, one pixel for each latent."""
    return [Image.fromarray(view.numpy()) for view in preview(model, latents)]


def preview_image(model: Model, latents: torch.Tensor) -> Image.Image:
    """One small picture of what (B, 4, h, w) latents may become, those of a batch side by side."""
    together = grid(preview_images(model, latents))
    scale = max(min(PREVIEW_SIDE // max(together.size), LATENT_PIXELS), 1)
    return together.resize((together.width * scale, together.height * scale), Image.Resampling.BICUBIC)
