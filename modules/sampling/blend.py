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

    def __call__(self, x: torch.Tensor, at: float | None = None) -> torch.Tensor:
        """(B, C, H, W) -> (B, C, H, W), at whatever sigma or timestep."""
        return x * self._mask + self._kept


class SoftBlend:
    """Mixes the original in by how noisy x is, and keeps its contrast: A1111's soft inpainting.

    The mask's share of what is new is taken to the power of sigma^bias * strength. Mixed vectors get a length of their
    own, a power mean of those that they are mixed of. What a run ends with is left as it is.
    """

    def __init__(
        self, original: torch.Tensor, mask: torch.Tensor, *, bias: float, strength: float, contrast: float
    ) -> None:
        """`original` (B or 1, C, H, W) in latents, `mask` (B or 1, 1, H, W) in [0, 1]; `contrast` from 1 on."""
        self.original, self.mask = original, mask
        self._bias, self._strength, self._contrast = bias, strength, contrast

    def __call__(self, x: torch.Tensor, at: float | None = None) -> torch.Tensor:
        """(B, C, H, W) -> (B, C, H, W); `at` is the sigma or timestep, None the end of the run."""
        if at is None:
            return x
        share = self.mask ** (float(at) ** self._bias * self._strength)  # (B or 1, 1, H, W)
        mixed = self.original * (1 - share) + x * share
        wanted = (_length(self.original) ** self._contrast * (1 - share) + _length(x) ** self._contrast * share) ** (
            1 / self._contrast
        )
        return mixed * (wanted / (_length(mixed) + _TINY)).to(mixed.dtype)

    def changes(self, x: torch.Tensor) -> torch.Tensor:
        """(B, H, W): how far each vector of latents (B, C, H, W) is from the original."""
        return (x - self.original).norm(dim=1)


_TINY = 1e-5


def _length(x: torch.Tensor) -> torch.Tensor:
    """(B, 1, H, W) float64, where the device has that: large powers are taken of it."""
    length = x.norm(dim=1, keepdim=True)
    return length if x.device.type == "mps" else length.double()
