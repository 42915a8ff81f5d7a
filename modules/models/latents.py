"""Pictures <-> latents, one picture at a time so that a batch takes no more memory than one."""

from __future__ import annotations

from collections.abc import Callable

import torch

from modules.models.memory import free_memory, is_out_of_memory
from modules.models.model import Model
from modules.models.strips import decode_in_strips, encode_in_strips
from modules.params import TagbrushError

BLACK = -1.0
"""What a VAE gives where a picture is black."""


class NotANumber(TagbrushError):
    """A network gave something that is no number; says which, and the remedy."""


@torch.inference_mode()
def decode(model: Model, latents: torch.Tensor, *, clamp: bool = True) -> torch.Tensor:
    """(B, 4, h, w) latents of the UNet's scale -> (B, 3, 8h, 8w) float32 pixels in [0, 1], on the model's device.

    Without `clamp` they are what the VAE gives, a little beyond [0, 1] where the picture is darkest and brightest.
    A VAE in half precision that overflows is asked again in float32 (R004), and one that finds too little memory strip
    by strip (R005). Raises NotANumber where even float32 gives none, and what the device raises where memory for
    strips is lacking too.
    """
    scaled = latents.float() * (1 / model.scale_factor)  # in this order: rounded as A1111 rounds
    pictures = [_reliably(model, _decode_one, latent[None]) for latent in scaled]
    pixels = (torch.cat(pictures) + 1) / 2
    return pixels.clamp(0, 1) if clamp else pixels


@torch.inference_mode()
def encode(model: Model, pixels: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
    """(B, 3, H, W) pixels in [0, 1] -> (B, 4, H/8, W/8) float32 latents of the UNet's scale, on the model's device.

    `noise` draws from the distribution that the VAE gives; without it the result is its mean. What overflows or finds
    too little memory is tried again as by `decode`, and errors are the same.
    """
    moments = torch.cat([_reliably(model, _encode_one, picture[None] * 2 - 1) for picture in pixels.float()])
    mean, log_variance = moments.chunk(2, dim=1)
    if noise is not None:
        mean = mean + torch.exp(log_variance.clamp(-30, 20) / 2) * noise.to(mean)
    return mean * model.scale_factor


def require_numbers(model: Model, latents: torch.Tensor) -> None:
    """Nothing, if latents of any shape are numbers throughout, or need not be (R004). Raises NotANumber."""
    if not model.checks_numbers or latents.isfinite().all():
        return
    in_full = "" if model.dtype is torch.float32 else ", or start with --no-half to compute in full precision"
    raise NotANumber(
        "The latents are not numbers: the UNet overflowed. Use another sampler, a lower CFG scale, "
        f"or smaller weights of LoRA and hypernetworks{in_full}. --disable-nan-check shows black pictures instead."
    )


def _decode_one(model: Model, latent: torch.Tensor) -> torch.Tensor:
    def at_once() -> torch.Tensor:
        return model.vae.decode(latent).sample

    return _at_once_or_in_strips(model, at_once, lambda: decode_in_strips(model.vae, latent))


def _encode_one(model: Model, picture: torch.Tensor) -> torch.Tensor:
    """(1, 8, H/8, W/8): mean and log variance."""

    def at_once() -> torch.Tensor:
        return model.vae.encode(picture).latent_dist.parameters

    return _at_once_or_in_strips(model, at_once, lambda: encode_in_strips(model.vae, picture))


def _at_once_or_in_strips(
    model: Model, at_once: Callable[[], torch.Tensor], in_strips: Callable[[], torch.Tensor]
) -> torch.Tensor:
    if not model.spares_memory:
        try:
            return at_once()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # out here nothing holds on to what the failed attempt had computed
        free_memory(model.device)
    return in_strips()


def _reliably(model: Model, run: Callable[[Model, torch.Tensor], torch.Tensor], given: torch.Tensor) -> torch.Tensor:
    dtype = model.vae.dtype
    require_numbers(model, given)
    result = run(model, given.to(model.device, dtype)).float()
    if result.isfinite().all():
        return result
    if dtype is not torch.float32:
        result = _in_float32(model, run, given)
    if result.isfinite().all():
        return result
    if not model.checks_numbers:
        return result.nan_to_num(BLACK, BLACK, BLACK)
    raise NotANumber(
        f"The VAE of {model.path.name} gives no picture (NaN), in float32 neither. Choose another under Settings, "
        "SD VAE. --disable-nan-check shows a black picture instead."
    )


def _in_float32(model: Model, run: Callable[[Model, torch.Tensor], torch.Tensor], given: torch.Tensor) -> torch.Tensor:
    dtype = model.vae.dtype
    try:
        model.vae.float()
        return run(model, given.to(model.device))
    finally:
        # halves survive the way to float32 and back bit for bit
        model.vae.to(dtype)
