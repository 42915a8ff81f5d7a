"""A VAE with little memory: decoder and encoder run on strips of rows, giving what they give at once.

Cutting a picture into tiles that go through alone changes it, since GroupNorm and the attention in the VAE's middle
look at all of it. Here each layer is computed strip by strip instead: convolutions read the rows beside a strip,
and normalisations first go through all strips for their mean and variance. What is finished waits in main memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from diffusers import AutoencoderKL
    from diffusers.models.attention_processor import Attention
    from diffusers.models.resnet import ResnetBlock2D

NUMBERS = 2**24
"""In one strip of one layer."""
QUERIES = 1024
"""Positions whose attention to all others is computed at once."""


@torch.inference_mode()
def decode_in_strips(vae: AutoencoderKL, latent: torch.Tensor, *, numbers: int = NUMBERS) -> torch.Tensor:
    """(1, 4, h, w) latents of the VAE's scale -> (1, 3, 8h, 8w), as `vae.decode` gives up to rounding.

    A strip has at most about `numbers` numbers.
    """
    decoder = vae.decoder
    x = vae.post_quant_conv(latent) if vae.post_quant_conv is not None else latent
    layer: Layer = Kept(_middle(decoder.mid_block, decoder.conv_in(x)).cpu(), latent.device)
    for block in decoder.up_blocks:
        for resnet in block.resnets:
            layer = _keep(_residual(layer, resnet, numbers), latent.device, numbers)
        for upsampler in block.upsamplers or ():
            layer = _keep(Convolved(Doubled(layer), upsampler.conv), latent.device, numbers)
    last = Convolved(Normalised(layer, decoder.conv_norm_out, decoder.conv_act, numbers), decoder.conv_out)
    return _keep(last, latent.device, numbers).all.to(latent.device)


@torch.inference_mode()
def encode_in_strips(vae: AutoencoderKL, picture: torch.Tensor, *, numbers: int = NUMBERS) -> torch.Tensor:
    """(1, 3, 8h, 8w) pixels in [-1, 1] -> (1, 8, h, w), mean and log variance as `vae.encode` gives up to rounding.

    A strip has at most about `numbers` numbers.
    """
    encoder, device = vae.encoder, picture.device
    layer = _keep(Convolved(Kept(picture.cpu(), device), encoder.conv_in), device, numbers)
    for block in encoder.down_blocks:
        for resnet in block.resnets:
            layer = _keep(_residual(layer, resnet, numbers), device, numbers)
        for downsampler in block.downsamplers or ():
            layer = _keep(Halved(layer, downsampler.conv), device, numbers)
    x = _middle(encoder.mid_block, layer.all.to(device))
    moments = encoder.conv_out(encoder.conv_act(encoder.conv_norm_out(x)))
    return vae.quant_conv(moments) if vae.quant_conv is not None else moments


class Layer(Protocol):
    """What a layer gives, (1, channels, height, width), computed where it is asked for."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""

    def rows(self, start: int, stop: int) -> torch.Tensor:
        """(1, channels, stop - start, width) on the VAE's device."""


@dataclass(frozen=True)
class Kept:
    """A layer that is all there, in main memory."""

    all: torch.Tensor
    device: torch.device

    @property
    def shape(self) -> tuple[int, int, int]:
        _, channels, height, width = self.all.shape
        return channels, height, width

    def rows(self, start: int, stop: int) -> torch.Tensor:
        return self.all[:, :, start:stop].to(self.device)


@dataclass(frozen=True)
class Doubled:
    """Each pixel four times."""

    source: Layer

    @property
    def shape(self) -> tuple[int, int, int]:
        channels, height, width = self.source.shape
        return channels, 2 * height, 2 * width

    def rows(self, start: int, stop: int) -> torch.Tensor:
        first = start // 2
        doubled = functional.interpolate(self.source.rows(first, (stop + 1) // 2), scale_factor=2.0, mode="nearest")
        return doubled[:, :, start - 2 * first : stop - 2 * first]


@dataclass(frozen=True)
class Convolved:
    """A convolution that keeps the size; beyond the edges are zeros, or the opposite edge where it was told so."""

    source: Layer
    convolution: nn.Conv2d

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.convolution.out_channels, *self.source.shape[1:]

    def rows(self, start: int, stop: int) -> torch.Tensor:
        conv, (_, height, _) = self.convolution, self.source.shape
        reach, side = conv.padding
        mode = "circular" if conv.padding_mode == "circular" else "constant"
        above, below = max(reach - start, 0), max(stop + reach - height, 0)
        given = self.source.rows(start - reach + above, stop + reach - below)
        if mode == "circular":
            over = [self.source.rows(height - above, height)] if above else []
            under = [self.source.rows(0, below)] if below else []
            given, above, below = torch.cat([*over, given, *under], dim=2), 0, 0
        padded = functional.pad(given, (side, side, 0, 0), mode=mode)
        return functional.conv2d(functional.pad(padded, (0, 0, above, below)), conv.weight, conv.bias)


@dataclass(frozen=True)
class Halved:
    """A convolution at every other pixel, which reads zeros beyond the lower and the right edge alone."""

    source: Layer
    convolution: nn.Conv2d

    @property
    def shape(self) -> tuple[int, int, int]:
        _, height, width = self.source.shape
        return self.convolution.out_channels, height // 2, width // 2

    def rows(self, start: int, stop: int) -> torch.Tensor:
        conv, (_, height, _) = self.convolution, self.source.shape
        end = 2 * stop + 1
        given = functional.pad(self.source.rows(2 * start, min(end, height)), (0, 1, 0, max(end - height, 0)))
        return functional.conv2d(given, conv.weight, conv.bias, stride=2)


@dataclass
class Normalised:
    """A group normalisation and what follows it (Wu and He 2018, arXiv:1803.08494), over the whole layer."""

    source: Layer
    norm: nn.GroupNorm
    activation: nn.Module
    numbers: int
    _mean: torch.Tensor = field(init=False)
    _deviation: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        groups = self.norm.num_groups
        means, squares, shares = [], [], []
        for start, stop in _strips(self.source, self.numbers):
            strip = self.source.rows(start, stop).float().unflatten(1, (groups, -1)).flatten(2)  # (1, groups, n)
            variance, mean = torch.var_mean(strip, dim=2, correction=0)
            means.append(mean.cpu().double())
            squares.append(variance.cpu().double())
            shares.append((stop - start) / self.source.shape[1])
        weights = torch.tensor(shares, dtype=torch.float64).view(-1, 1, 1)
        mean = (torch.stack(means) * weights).sum(0)
        # the variance of all is the mean of the strips' plus that of their means
        variance = ((torch.stack(squares) + (torch.stack(means) - mean) ** 2) * weights).sum(0)
        self._mean, self._deviation = mean.float(), (variance + self.norm.eps).sqrt().float()  # (1, groups)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.source.shape

    def rows(self, start: int, stop: int) -> torch.Tensor:
        given = self.source.rows(start, stop)
        mean, deviation = (numbers.to(given.device).view(1, -1, 1, 1, 1) for numbers in (self._mean, self._deviation))
        grouped = given.float().unflatten(1, (self.norm.num_groups, -1))  # (1, groups, channels of one, rows, width)
        standard = ((grouped - mean) / deviation).flatten(1, 2)
        scale, shift = (weight.float().view(1, -1, 1, 1) for weight in (self.norm.weight, self.norm.bias))
        return self.activation((standard * scale + shift).to(given.dtype))


@dataclass(frozen=True)
class Sum:
    """Two layers of one shape, added."""

    one: Layer
    other: Layer
    divisor: float

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.one.shape

    def rows(self, start: int, stop: int) -> torch.Tensor:
        return (self.one.rows(start, stop) + self.other.rows(start, stop)) / self.divisor


def _residual(x: Layer, block: ResnetBlock2D, numbers: int) -> Layer:
    inner = Convolved(Normalised(x, block.norm1, block.nonlinearity, numbers), block.conv1)
    inner = Convolved(Normalised(inner, block.norm2, block.nonlinearity, numbers), block.conv2)
    around = x if block.conv_shortcut is None else Convolved(x, block.conv_shortcut)
    return Sum(around, inner, block.output_scale_factor)


def _keep(layer: Layer, device: torch.device, numbers: int) -> Kept:
    """The layer computed, strip after strip."""
    rows = [layer.rows(start, stop).cpu() for start, stop in _strips(layer, numbers)]
    return Kept(torch.cat(rows, dim=2), device)


def _strips(layer: Layer, numbers: int) -> Iterator[tuple[int, int]]:
    channels, height, width = layer.shape
    step = max(numbers // (channels * width), 1)
    for start in range(0, height, step):
        yield start, min(start + step, height)


def _middle(block: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The VAE's middle, a 64th of the picture, whose attention is computed for some positions after others."""
    x = block.resnets[0](x, None)
    for attention, resnet in zip(block.attentions, block.resnets[1:], strict=True):
        x = resnet(x if attention is None else _attended(attention, x), None)
    return x


def _attended(attention: Attention, x: torch.Tensor) -> torch.Tensor:
    """(1, C, h, w) -> the same: every position looks at all, and the result is added."""
    height, width = x.shape[2:]
    normed = attention.group_norm(x.flatten(2)).transpose(1, 2)  # (1, h * w, C)
    query, key, value = (
        layer(normed).unflatten(2, (attention.heads, -1)).transpose(1, 2)
        for layer in (attention.to_q, attention.to_k, attention.to_v)
    )  # (1, heads, h * w, C / heads)
    looks = [functional.scaled_dot_product_attention(some, key, value) for some in query.split(QUERIES, dim=2)]
    merged = torch.cat(looks, dim=2).transpose(1, 2).flatten(2)
    out = attention.to_out[0](merged).transpose(1, 2).unflatten(2, (height, width))
    return (out + x) / attention.rescale_output_factor
