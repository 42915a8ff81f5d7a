"""A picture decoded or encoded strip by strip is the one that went through whole."""

from __future__ import annotations

import copy

import pytest
import torch
from diffusers import AutoencoderKL
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from modules.models.strips import decode_in_strips, encode_in_strips
from tests.models import small
from tests.models.small import FAMILIES

TOLERANCE = 2e-5
"""Maximum absolute difference in float32, where pixels lie in about [-2.5, 2.5]; 6e-6 was measured."""


@pytest.fixture(scope="module")
def vae() -> AutoencoderKL:
    torch.manual_seed(1)
    return small.make_vae(FAMILIES["sd1"]).requires_grad_(False).eval()


def latent(height: int, width: int) -> torch.Tensor:
    return torch.randn(1, 4, height, width, generator=torch.Generator().manual_seed(height + width))


def picture(height: int, width: int) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(height + width)) * 2 - 1


@settings(max_examples=4)
@given(height=st.integers(2, 9), width=st.integers(2, 9), numbers=st.sampled_from([1, 3000, 20_000, 2**24]))
def test_strips_of_any_height_give_the_whole(vae: AutoencoderKL, height: int, width: int, numbers: int) -> None:
    """R005."""
    z = latent(height, width)
    with torch.inference_mode():
        whole = vae.decode(z).sample
    torch.testing.assert_close(decode_in_strips(vae, z, numbers=numbers), whole, atol=TOLERANCE, rtol=0)


@settings(max_examples=4)
@given(height=st.integers(16, 70), width=st.integers(16, 70), numbers=st.sampled_from([1, 3000, 20_000, 2**24]))
def test_encoding_in_strips_of_any_height_gives_the_whole(
    vae: AutoencoderKL, height: int, width: int, numbers: int
) -> None:
    """R005; sizes that are no multiple of 8 too."""
    pixels = picture(height, width)
    with torch.inference_mode():
        whole = vae.encode(pixels).latent_dist.parameters
    torch.testing.assert_close(encode_in_strips(vae, pixels, numbers=numbers), whole, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("numbers", [1, 5000, 2**24])
def test_strips_go_on_at_the_opposite_edge_where_the_vae_does(vae: AutoencoderKL, numbers: int) -> None:
    """U007."""
    vae = copy.deepcopy(vae)
    for module in vae.modules():
        if isinstance(module, nn.Conv2d):
            module.padding_mode = "circular"
    z, pixels = latent(6, 9), picture(48, 72)
    with torch.inference_mode():
        decoded, encoded = vae.decode(z).sample, vae.encode(pixels).latent_dist.parameters
    torch.testing.assert_close(decode_in_strips(vae, z, numbers=numbers), decoded, atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(encode_in_strips(vae, pixels, numbers=numbers), encoded, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 0.02), (torch.bfloat16, 0.15)])
def test_half_precision_rounds_as_the_whole_does(vae: AutoencoderKL, dtype: torch.dtype, tolerance: float) -> None:
    vae = copy.deepcopy(vae).to(dtype)
    z = latent(8, 8).to(dtype)
    with torch.inference_mode():
        whole = vae.decode(z).sample
    strips = decode_in_strips(vae, z, numbers=4000)
    assert strips.dtype is dtype
    torch.testing.assert_close(strips, whole, atol=tolerance, rtol=0)


@pytest.mark.slow
def test_a_vae_of_full_size_gives_the_same_in_strips() -> None:
    torch.manual_seed(0)
    blocks = 4
    vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * blocks,
        up_block_types=("UpDecoderBlock2D",) * blocks,
        layers_per_block=2,
    ).eval()
    z = latent(24, 20)
    with torch.inference_mode():
        whole = vae.decode(z).sample
    strips = decode_in_strips(vae, z, numbers=2**21)
    torch.testing.assert_close(strips, whole, atol=TOLERANCE * whole.abs().max().item(), rtol=0)
    with torch.inference_mode():
        moments = vae.encode(picture(192, 160)).latent_dist.parameters
    strips = encode_in_strips(vae, picture(192, 160), numbers=2**21)
    torch.testing.assert_close(strips, moments, atol=TOLERANCE * moments.abs().max().item(), rtol=0)
