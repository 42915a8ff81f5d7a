"""The channels that inpainting and instruct-pix2pix models read beside the noisy latents."""

from __future__ import annotations

import torch
from torch.nn import functional

from modules.models import Model
from modules.models import encode as encode_middle
from modules.params import LATENT_PIXELS, TagbrushError

from .encoding import Encode


def concat_channels(
    model: Model,
    pixels: torch.Tensor | None,
    mask: torch.Tensor | None = None,
    *,
    batch: int,
    width: int,
    height: int,
    mask_weight: float = 1.0,
    encode: Encode = encode_middle,
) -> torch.Tensor | None:
    """(B, K, h, w) for a model that wants them, None for any other.

    `pixels` (B, 3, H, W) in [0, 1] is the picture it looks at, `mask` (B, 1, H, W) what it may not see of it (None:
    all). Without a picture all is hidden. Raises TagbrushError where a model cannot do without one.
    """
    if model.variant == "inpaint":
        if pixels is None:
            pixels, mask_weight = torch.full((1, 3, height, width), 0.5), 1.0
        return _masked(model, pixels, mask, mask_weight, encode).expand(batch, -1, -1, -1)
    if model.variant == "pix2pix":
        if pixels is None:
            raise TagbrushError(
                f"{model.path.name} changes a picture by instruction (instruct-pix2pix). "
                "Use img2img and give it one, or choose another checkpoint."
            )
        # trained on the VAE's own latents, unlike those it denoises (Brooks et al. 2023, arXiv:2211.09800)
        return encode(model, pixels) / model.scale_factor
    return None


def blank_channels(model: Model, latents: torch.Tensor, encode: Encode = encode_middle) -> torch.Tensor | None:
    """The same for (B, C, h, w) latents without a picture."""
    height, width = (side * LATENT_PIXELS for side in latents.shape[-2:])
    return concat_channels(model, None, batch=len(latents), width=width, height=height, encode=encode)


def _masked(
    model: Model, pixels: torch.Tensor, mask: torch.Tensor | None, weight: float, encode: Encode
) -> torch.Tensor:
    """(B, 5, h, w): the mask, and the latents of the picture with what it marks made grey, by degrees of `weight`."""
    if mask is None:
        mask = pixels.new_ones(1, 1, *pixels.shape[-2:])
    centred = pixels * 2 - 1  # so that 0 is grey
    hidden = torch.lerp(centred, centred * (1 - mask), weight)
    latents = encode(model, (hidden + 1) / 2)
    small = functional.interpolate(mask, size=(pixels.shape[-2] // LATENT_PIXELS, pixels.shape[-1] // LATENT_PIXELS))
    return torch.cat([small.to(latents).expand(len(latents), -1, -1, -1), latents], dim=1)
