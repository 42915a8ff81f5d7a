"""Pictures whose opposite edges fit each other, so that copies laid side by side show no seam (U007)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from modules.models.model import Model


@contextmanager
def tiled(model: Model, is_wanted: bool = True) -> Iterator[None]:
    """Inside, every convolution of the UNet and the VAE goes on at the opposite edge where it would see nothing."""
    convolutions = [
        module
        for part in (model.unet, model.vae)
        for module in part.modules()
        if is_wanted and isinstance(module, nn.Conv2d) and module.padding_mode == "zeros"
    ]
    try:
        for convolution in convolutions:
            convolution.padding_mode = "circular"
        yield
    finally:
        for convolution in convolutions:
            convolution.padding_mode = "zeros"
