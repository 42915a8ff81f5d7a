"""Soft inpainting: after the walk, what is shown anew goes by how much the latents changed."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from modules.images.soft_masks import changed_mask
from modules.params import LATENT_PIXELS
from modules.sampling import SoftBlend

from .canvas import Canvas, under
from .plans import Start


def softened(canvases: Sequence[Canvas], blend: SoftBlend, latents: torch.Tensor, start: Start) -> tuple[Canvas, ...]:
    """The canvases of a batch, each with the mask of what (B, 4, h, w) latents made of it."""
    inpaint = start.inpaint
    assert inpaint is not None and inpaint.soft is not None
    soft = inpaint.soft
    distances = blend.changes(latents).float().cpu().numpy()
    masks = blend.mask.expand(len(latents), -1, -1, -1)[:, 0].float().cpu().numpy()
    height, width = (side * LATENT_PIXELS for side in latents.shape[-2:])
    return tuple(
        under(
            canvas,
            changed_mask(
                distance,
                mask,
                (width, height),
                preservation=soft.preservation_strength,
                influence=soft.mask_influence,
                threshold=soft.difference_threshold,
                contrast=soft.difference_contrast,
            ),
            inpaint,
        )
        for canvas, distance, mask in zip(canvases, distances, masks, strict=True)
    )
