"""The UNet's upsampling as Stable Diffusion was made with it."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class Upsample(nn.Module):
    """Twice as wide and high, then convolved, then cut to where the skip connection ends.

    diffusers cuts before it convolves, which gives other pictures wherever width or height is no multiple of 64.
    """

    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, hidden_states: torch.Tensor, output_size: tuple[int, int] | None = None) -> torch.Tensor:
        """(B, C, h, w) -> (B, C, 2h, 2w), or `output_size`, one less where the level below was rounded up."""
        doubled = self.conv(functional.interpolate(hidden_states, scale_factor=2.0, mode="nearest"))
        return doubled if output_size is None else doubled[..., : output_size[0], : output_size[1]]
