"""The original of an inpainted picture, put back where it is to stay."""

from __future__ import annotations

import torch


class Blend:
    """Keeps the unpainted part of a picture: `blend(x)` is x where `mask` is 1, the original where it is 0.

    In between, of a soft mask, it is a mixture of the two.
    """

    def __init__(self, original: torch.Tensor, mask: torch.Tensor) -> None:
        """`original` (B or 1, C, H, W) in latents, `mask` of a shape that fits it, in [0, 1]."""
        self._mask = mask
        self._kept = original * (1 - mask)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return x * self._mask + self._kept
