"""What a stage starts from: noise alone, a person's pictures, or the enlarged ones of the first stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from modules.models import require_numbers
from modules.sampling import Blend, SoftBlend

from .bench import Bench
from .canvas import Canvas
from .concat import blank_channels, concat_channels
from .encoding import Encode
from .hires import cut_to_size, enlarge_latents, enlarge_pixels, is_latent
from .init_latents import init_latents
from .plans import Hires, Inpaint, Plan


@dataclass(frozen=True, eq=False)
class Origin:
    """Where a walk begins. All tensors have one row for each picture."""

    noise: torch.Tensor
    """(B, 4, h, w), of variance 1 as a rule."""
    latents: torch.Tensor | None = None
    """(B, 4, h, w) of the pictures that it goes on from; None starts from noise alone."""
    concat: torch.Tensor | None = None
    """(B, K, h, w): what an inpainting or instruct-pix2pix model reads behind the latents."""
    blend: Blend | SoftBlend | None = None
    """What keeps the part of the pictures that is not to change."""


def from_noise(bench: Bench, noise: torch.Tensor, encode: Encode) -> Origin:
    """Nothing but noise (B, 4, h, w)."""
    return Origin(noise, concat=blank_channels(bench.model, noise, encode))


def from_canvases(
    plan: Plan, bench: Bench, canvases: Sequence[Canvas], noise: torch.Tensor, unvaried: Callable[[], torch.Tensor]
) -> Origin:
    """A picture for each row of noise, with its mask; what noise fills the mask is `unvaried`, the seed's own."""
    start, stage = plan.start, plan.first
    assert start is not None
    size = {"width": stage.width, "height": stage.height}
    init = init_latents(bench.model, canvases, start.inpaint, unvaried, **size)
    concat = concat_channels(
        bench.model,
        init.source,
        init.source_mask,
        batch=len(noise),
        mask_weight=plan.mask_weight,
        **size,
    )
    blend = None if init.mask is None else _blend(init.latents, init.mask, start.inpaint)
    return Origin(noise * start.noise_multiplier, init.latents, concat, blend)


def _blend(latents: torch.Tensor, mask: torch.Tensor, inpaint: Inpaint | None) -> Blend | SoftBlend:
    """What keeps the part of (B, 4, h, w) latents that the mask (B, 1, h, w) leaves out, hard or soft."""
    if inpaint is None or inpaint.soft is None:
        return Blend(latents, mask)
    return SoftBlend(
        latents,
        mask,
        bias=inpaint.soft.schedule_bias,
        strength=inpaint.soft.preservation_strength,
        contrast=inpaint.soft.transition_contrast_boost,
    )


@dataclass(frozen=True, eq=False)
class Enlarging:
    """The pictures of the first stage, or one that takes their place, on their way to the second."""

    hires: Hires
    latents: torch.Tensor | None
    """(B, 4, h, w), where latents are enlarged."""
    pixels: torch.Tensor | None
    """(B or 1, 3, H, W) in [0, 1], where pictures are."""

    @classmethod
    def of(cls, hires: Hires, bench: Bench, latents: torch.Tensor | None, picture: torch.Tensor | None) -> Enlarging:
        """The latents that the first stage ended in, or `picture` (1, 3, H, W); the model that made them is mounted."""
        if picture is not None or latents is None:
            return cls(hires, None, picture)
        if is_latent(hires):
            require_numbers(bench.model, latents)  # a second stage would be in vain
            return cls(hires, latents, None)
        return cls(hires, None, bench.decode(latents))

    def origin(self, plan: Plan, bench: Bench, noise: torch.Tensor, encode: Encode) -> Origin:
        """The pictures in their new size, for the model that is mounted now."""
        hires, latents, pixels = self.hires, self.latents, self.pixels
        if pixels is not None and not is_latent(hires):
            pixels = enlarge_pixels(pixels, hires)
        if pixels is not None:
            latents = encode(bench.model, pixels)
        assert latents is not None
        if is_latent(hires):
            latents, pixels = enlarge_latents(latents, hires), None
        latents = latents.expand(len(noise), -1, -1, -1)
        return Origin(noise, cut_to_size(latents, hires), self._concat(plan, bench, latents, pixels, encode))

    def _concat(
        self, plan: Plan, bench: Bench, latents: torch.Tensor, pixels: torch.Tensor | None, encode: Encode
    ) -> torch.Tensor | None:
        """(B, K, h, w): an inpainting model sees the enlarged picture as far as the settings let it."""
        if bench.model.variant == "base":
            return None
        if pixels is None and (plan.mask_weight < 1 or bench.model.variant == "pix2pix"):
            pixels = bench.decode(latents, clamp=False)
        elif pixels is not None and bench.model.variant == "inpaint":
            pixels = (pixels + 1) / 2  # A1111 takes them for pixels in [-1, 1]; at a weight of 1 none of it shows
        if pixels is not None:
            pixels = pixels.expand(len(latents), -1, -1, -1)
        concat = concat_channels(
            bench.model,
            pixels,
            batch=len(latents),
            width=self.hires.width,
            height=self.hires.height,
            mask_weight=plan.mask_weight,
            encode=encode,
        )
        return None if concat is None else cut_to_size(concat, self.hires)
