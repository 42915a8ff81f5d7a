"""Decoding that survives an overflow, and previews that find a VAE's own colours."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional

from modules.models import Model, NotANumber, decode, encode, load, preview, with_vae
from modules.models.preview import SD1_RGB, SD1_WIDTHS, latent_to_rgb
from tests.models.conftest import CHECKPOINT


class Overflowing(nn.Module):
    """A VAE that gives numbers only in some types, and remembers in which it was asked."""

    def __init__(self, works_in: set[torch.dtype], dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.1, 65504.0]).to(dtype), requires_grad=False)
        self.works_in = works_in
        self.asked: list[torch.dtype] = []

    @property
    def dtype(self) -> torch.dtype:
        return self.weight.dtype

    def decode(self, latents: torch.Tensor) -> SimpleNamespace:
        self.asked.append(self.dtype)
        value = 0.0 if self.dtype in self.works_in else torch.nan
        return SimpleNamespace(sample=torch.full((len(latents), 3, 8, 8), value, dtype=latents.dtype))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_an_overflow_in_half_precision_is_decoded_again_in_full(model: Model, dtype: torch.dtype) -> None:
    # R004
    vae = Overflowing({torch.float32}, dtype)
    before = vae.weight.clone()
    pixels = decode(replace(model, vae=vae), torch.zeros(2, 4, 1, 1))
    assert torch.equal(pixels, torch.full((2, 3, 8, 8), 0.5))
    assert vae.asked == [dtype, torch.float32] * 2
    assert vae.dtype is dtype
    assert torch.equal(vae.weight, before)


def test_a_vae_that_gives_no_picture_is_named_with_the_remedy(model: Model) -> None:
    # R004
    for dtype in (torch.float16, torch.float32):
        with pytest.raises(NotANumber, match=r"VAE of tiny_sd1.*SD VAE"):
            decode(replace(model, vae=Overflowing(set(), dtype)), torch.zeros(1, 4, 1, 1))


def test_latents_that_are_no_numbers_are_not_blamed_on_the_vae(model: Model) -> None:
    # R004
    nothing = torch.full((1, 4, 8, 8), torch.nan)
    with pytest.raises(NotANumber, match="UNet"):
        decode(model, nothing)
    with pytest.raises(NotANumber, match=r"UNet.*--no-half"):
        decode(replace(model, dtype=torch.float16), nothing)


def test_without_the_check_what_is_no_number_is_black(model: Model) -> None:
    # R004, F001: --disable-nan-check
    unchecked = replace(model, checks_numbers=False)
    assert not decode(unchecked, torch.full((1, 4, 8, 8), torch.nan)).any()
    assert not decode(replace(unchecked, vae=Overflowing(set(), torch.float16)), torch.zeros(1, 4, 1, 1)).any()
    assert torch.equal(decode(unchecked, torch.zeros(1, 4, 8, 8)), decode(model, torch.zeros(1, 4, 8, 8)))


def test_the_vae_may_have_another_number_type_than_the_rest() -> None:
    # F001: --no-half-vae
    mixed = load(CHECKPOINT, dtype=torch.float16, vae_dtype=torch.float32)
    assert (mixed.unet.dtype, mixed.text_encoder.dtype, mixed.vae.dtype) == (
        torch.float16,
        torch.float16,
        torch.float32,
    )
    pixels = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert decode(mixed, encode(mixed, pixels)).shape == pixels.shape
    other = with_vae(mixed, CHECKPOINT)
    assert other.vae is not mixed.vae
    assert other.vae.dtype is torch.float32


def test_pixels_are_within_their_range(model: Model) -> None:
    pixels = decode(model, 20 * torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)))
    assert pixels.shape == (1, 3, 64, 64)
    assert pixels.dtype is torch.float32
    assert pixels.min() == 0
    assert pixels.max() == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_gives_nearly_the_same_picture(model: Model, dtype: torch.dtype) -> None:
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    half = decode(load(CHECKPOINT, dtype=dtype), latents)
    assert (half - decode(model, latents)).abs().mean() < 0.02


def test_colours_of_a_linear_vae_are_found_exactly() -> None:
    mix = torch.randn(4, 3, generator=torch.Generator().manual_seed(3))

    def encode_linearly(pictures: torch.Tensor) -> SimpleNamespace:
        small = functional.avg_pool2d(pictures, 2)
        return SimpleNamespace(latent_dist=SimpleNamespace(mean=torch.einsum("bchw,lc->blhw", small, mix)))

    vae = SimpleNamespace(
        config=SimpleNamespace(block_out_channels=(8, 8)), device="cpu", dtype=torch.float32, encode=encode_linearly
    )
    rgb = latent_to_rgb(vae, scale_factor=0.5)
    colour = torch.tensor([0.2, 0.5, 0.9])
    latent = torch.cat([mix @ (colour * 2 - 1) * 0.5, torch.ones(1)])
    torch.testing.assert_close(latent @ rgb, colour, atol=1e-4, rtol=0)


def test_the_colours_of_sd1s_own_vae_are_known_without_asking_it() -> None:
    rgb = latent_to_rgb(SimpleNamespace(config=SimpleNamespace(block_out_channels=list(SD1_WIDTHS))), 0.18215)
    torch.testing.assert_close(rgb[:4] * 2, torch.tensor(SD1_RGB))
    assert rgb[4].tolist() == [0.5, 0.5, 0.5]


def test_sdxls_latents_have_colours_of_their_own() -> None:
    vae = SimpleNamespace(config=SimpleNamespace(block_out_channels=list(SD1_WIDTHS)))
    assert torch.equal(latent_to_rgb(vae, 0.18215, "sd2"), latent_to_rgb(vae, 0.18215))
    assert not torch.equal(latent_to_rgb(vae, 0.13025, "sdxl"), latent_to_rgb(vae, 0.13025))


def test_a_preview_of_no_numbers_is_a_picture_all_the_same(model: Model) -> None:
    assert preview(model, torch.full((1, 4, 2, 2), torch.nan)).shape == (1, 2, 2, 3)


def test_encoding_without_noise_is_the_mean(model: Model) -> None:
    pixels = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    mean = encode(model, pixels)
    assert mean.shape == (1, 4, 8, 8)
    assert mean.dtype is torch.float32
    torch.testing.assert_close(encode(model, pixels, torch.zeros(1, 4, 8, 8)), mean)


class Starving(nn.Module):
    """A VAE that finds too little memory for whole pictures."""

    def __init__(self, vae: nn.Module, error: Exception) -> None:
        super().__init__()
        self.vae, self.error, self.asked = vae, error, 0

    def __getattr__(self, name: str) -> object:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("vae"), name)

    def decode(self, latents: torch.Tensor) -> SimpleNamespace:
        self.asked += 1
        raise self.error

    def encode(self, pixels: torch.Tensor) -> SimpleNamespace:
        return self.decode(pixels)


LACKS_OF_MEMORY = pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried ..."),
        MemoryError(),
    ],
    ids=lambda error: type(error).__name__,
)


@LACKS_OF_MEMORY
def test_a_picture_that_does_not_fit_into_memory_is_decoded_in_strips(model: Model, error: Exception) -> None:
    """R005."""
    latents = torch.randn(2, 4, 8, 12, generator=torch.Generator().manual_seed(0))
    starving = Starving(model.vae, error)
    torch.testing.assert_close(decode(replace(model, vae=starving), latents), decode(model, latents), atol=2e-5, rtol=0)
    assert starving.asked == 2


@LACKS_OF_MEMORY
def test_a_picture_to_be_redrawn_that_does_not_fit_into_memory_is_encoded_in_strips(
    model: Model, error: Exception
) -> None:
    """R005."""
    pixels = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    starving = Starving(model.vae, error)
    torch.testing.assert_close(encode(replace(model, vae=starving), pixels), encode(model, pixels), atol=2e-5, rtol=0)
    assert starving.asked == 2


def test_other_errors_of_the_vae_are_not_taken_for_a_lack_of_memory(model: Model) -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        decode(replace(model, vae=Starving(model.vae, RuntimeError("shapes differ"))), torch.zeros(1, 4, 8, 8))
    with pytest.raises(RuntimeError, match="shapes"):
        encode(replace(model, vae=Starving(model.vae, RuntimeError("shapes differ"))), torch.zeros(1, 3, 64, 64))
