"""What the walk from a picture begins with: its latents, the mask over them, and what special models look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from modules.images import resize_image
from modules.models import Model, encode
from modules.params import LATENT_PIXELS

from .canvas import Canvas
from .pictures import to_pixels
from .plans import Fill, Inpaint


@dataclass(frozen=True, eq=False)
class InitLatents:
    """The pictures of a batch, ready to be noised. On the model's device, float32."""

    latents: torch.Tensor
    """(B, 4, h, w)."""
    mask: torch.Tensor | None = None
    """(B, 1, h, w): 1 where latents are made anew, 0 where they stay."""
    source: torch.Tensor | None = None
    """(B, 3, 8h, 8w): the pixels in [0, 1] that an inpainting or instruct-pix2pix model looks at."""
    source_mask: torch.Tensor | None = None
    """(B, 1, 8h, 8w): which of them it may not see; None is all."""


def init_latents(
    model: Model,
    canvases: Sequence[Canvas],
    inpaint: Inpaint | None,
    draw_noise: Callable[[], torch.Tensor],
    *,
    width: int,
    height: int,
) -> InitLatents:
    """Those of a batch, one canvas for each picture; one that occurs twice is encoded once.

    `draw_noise` gives the (B, 4, h, w) that Fill.NOISE puts under the mask.
    """
    size = (height // LATENT_PIXELS, width // LATENT_PIXELS)
    encoded = {id(canvas): _latents(model, canvas, size) for canvas in canvases}
    latents = torch.cat([encoded[id(canvas)] for canvas in canvases])
    source, source_mask = _source(model, canvases, inpaint, width, height)
    if inpaint is None or not any(canvas.mask for canvas in canvases):
        return InitLatents(latents, source=source, source_mask=source_mask)
    mask = torch.cat([_latent_mask(canvas.mask, size, inpaint.is_round) for canvas in canvases]).to(latents.device)
    if inpaint.fill is Fill.NOISE:
        latents = latents * (1 - mask) + draw_noise().to(latents.device) * mask
    elif inpaint.fill is Fill.NOTHING:
        latents = latents * (1 - mask)
    return InitLatents(latents, mask, source, source_mask)


def _latents(model: Model, canvas: Canvas, size: tuple[int, int]) -> torch.Tensor:
    """(1, 4, h, w) of the canvas's picture, stretched where it is of another size."""
    latents = encode(model, to_pixels(canvas.picture))
    if latents.shape[-2:] == size:
        return latents
    return functional.interpolate(latents, size=size, mode="bilinear")


def _latent_mask(mask: Image.Image | None, size: tuple[int, int], is_round: bool) -> torch.Tensor:
    """(1, 1, h, w) in [0, 1], of an "L" mask; without one, everything is made anew."""
    if mask is None:
        return torch.ones(1, 1, *size)
    small = mask.resize((size[1], size[0]), Image.Resampling.BICUBIC)
    values = torch.from_numpy(np.array(small, dtype=np.float32))[None, None] / 255
    return values.round() if is_round else values


def _source(
    model: Model, canvases: Sequence[Canvas], inpaint: Inpaint | None, width: int, height: int
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    if model.variant == "base":
        return None, None
    fitted = [resize_image(canvas.picture, width, height) for canvas in canvases]
    source = torch.cat([to_pixels(picture) for picture in fitted])
    if inpaint is None or not any(canvas.mask for canvas in canvases):
        return source, None
    mask = torch.cat([_source_mask(canvas.mask, (height, width), inpaint.is_round) for canvas in canvases])
    return source, mask


def _source_mask(mask: Image.Image | None, size: tuple[int, int], is_round: bool) -> torch.Tensor:
    """(1, 1, H, W) in [0, 1], of an "L" mask of that size."""
    if mask is None:
        return torch.ones(1, 1, *size)
    values = torch.from_numpy(np.array(mask, dtype=np.float32))[None, None] / 255
    return values.round() if is_round else values
