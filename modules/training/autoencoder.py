"""A small AutoencoderKL of SD 1.x's structure, trained from an initialisation that already transmits pictures."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import cos, pi
from time import monotonic

import numpy
import torch
from diffusers import AutoencoderKL
from torch import nn
from torch.nn import functional as F

from modules.training.averages import MovingAverage
from modules.training.parallel import average_gradients, broadcast_weights

SCALE_FACTOR = 0.18215  # SD 1.x's: latents times this have about unit variance
LATENT_NOISE = 0.1  # added to latents of unit-like scale while training, in place of a KL term
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


@dataclass(frozen=True, slots=True)
class AutoencoderSettings:
    """Widths of the autoencoder and the course of its training."""

    widths: tuple[int, ...] = (16, 32, 64, 64)
    groups: int = 4
    learning_rate: float = 1.5e-3
    crop: int = 64  # px
    batch: int = 4  # crops per process
    decay: float = 0.998
    seconds: float = 480.0


def build_autoencoder(settings: AutoencoderSettings) -> AutoencoderKL:
    """Make the model with diffusers' own (untrained) weights."""
    levels = len(settings.widths)
    model = AutoencoderKL(
        block_out_channels=settings.widths,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=1,
        norm_num_groups=settings.groups,
        latent_channels=4,
        scaling_factor=SCALE_FACTOR,
    )
    return model.to(memory_format=torch.channels_last)


def to_tensor(pictures: numpy.ndarray) -> torch.Tensor:
    """Turn (B, H, W, 3) bytes into (B, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(pictures.astype(numpy.float32)).permute(0, 3, 1, 2).div_(127.5).sub_(1.0)


@torch.no_grad()
def initialise(model: AutoencoderKL, pictures: torch.Tensor) -> None:
    """Make an untrained autoencoder reproduce `pictures` (B, 3, H, W in [-1, 1]) roughly: about 19 dB.

    GroupNorm and SiLU before the last convolution discard absolute colour, and training is slow to find a way
    round that. So: residual branches start at zero, which leaves a linear trunk; three channels of the trunk carry
    RGB, the others random features with constant biases that give each group a reference; and the two last
    convolutions are solved by least squares.
    """
    for module in model.modules():
        _zero_residual_end(module)
    for part in (model.encoder, model.decoder):
        _carry_colour(part)
    nn.init.dirac_(model.quant_conv.weight)
    nn.init.zeros_(model.quant_conv.bias)
    nn.init.dirac_(model.post_quant_conv.weight)
    nn.init.zeros_(model.post_quant_conv.bias)

    colour = F.avg_pool2d(pictures, 8)
    luma = (pictures * torch.tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
    gradient = F.avg_pool2d(luma * torch.linspace(-1, 1, 8).repeat(luma.shape[-1] // 8), 8)
    targets = torch.cat([colour, gradient * 4, torch.full_like(gradient, 0).repeat(1, 4, 1, 1)], 1)
    _solve_last(model.encoder, pictures, targets)
    model.encoder.conv_out.weight[4:] = 0.0
    model.encoder.conv_out.bias[4:] = 2 * torch.tensor(LATENT_NOISE).log()
    latents = model.encode(pictures).latent_dist.mean
    _solve_last(model.decoder, latents, pictures)


def _zero_residual_end(module: nn.Module) -> None:
    name = type(module).__name__
    if name == "ResnetBlock2D":
        nn.init.zeros_(module.conv2.weight)
        nn.init.zeros_(module.conv2.bias)
    elif name == "Attention":
        nn.init.zeros_(module.to_out[0].weight)
        nn.init.zeros_(module.to_out[0].bias)


def _carry_colour(part: nn.Module) -> None:
    """Let channels 0-2 of every trunk convolution pass RGB on."""
    for name, module in part.named_modules():
        if not isinstance(module, nn.Conv2d) or not name.endswith(("conv_in", "conv_shortcut", "0.conv")):
            continue
        nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
        nn.init.zeros_(module.bias)
        module.weight[:3] = 0.0
        kernel = _trunk_kernel(name, module.kernel_size[0])
        for channel in range(3):
            module.weight[channel, channel] = kernel
        if name.endswith("conv_in"):
            module.bias[3:].normal_(std=1.5)


def _trunk_kernel(name: str, size: int) -> torch.Tensor:
    kernel = torch.zeros(size, size)
    if "downsamplers" in name:  # 2x2 mean: diffusers pads right and bottom only
        kernel[:2, :2] = 0.25
    elif "upsamplers" in name:  # after nearest doubling this is about bilinear
        line = torch.tensor([0.25, 0.5, 0.25])
        kernel = torch.outer(line, line)
    else:
        kernel[size // 2, size // 2] = 1.0
    return kernel


def _solve_last(part: nn.Module, inputs: torch.Tensor, targets: torch.Tensor, ridge: float = 1e-3) -> None:
    """Set `part.conv_out` by ridge regression so that `part(inputs)` comes nearest to `targets`."""
    seen: list[torch.Tensor] = []
    hook = part.conv_out.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    for chunk in inputs.split(8):
        part(chunk)
    hook.remove()
    width = part.conv_out.in_channels * 9 + 1
    gram, moment = torch.zeros(width, width, dtype=torch.float64), 0.0
    for features, target in zip(seen, targets.split(8), strict=True):
        columns = F.unfold(features, 3, padding=1)  # (B, C*9, H*W)
        rows = F.pad(columns.transpose(1, 2).reshape(-1, width - 1), (0, 1), value=1.0).double()
        gram += rows.T @ rows
        moment = moment + rows.T @ target.permute(0, 2, 3, 1).reshape(len(rows), -1).double()
    gram.diagonal().add_(ridge * gram.diagonal().mean())
    solution = torch.linalg.solve(gram, moment).float()  # (C*9 + 1, targets)
    part.conv_out.weight.copy_(solution[:-1].T.reshape(part.conv_out.weight.shape))
    part.conv_out.bias.copy_(solution[-1])


def reconstruction_loss(rebuilt: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
    """Weigh pixels, flat areas (mean of 4x4) and edges (finite differences)."""
    error = rebuilt - pictures
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return error.abs().mean() + error.square().mean() + 2 * F.avg_pool2d(error, 4).square().mean() + 0.5 * edges


def random_crops(pictures: numpy.ndarray, size: int, count: int, chance: numpy.random.Generator) -> torch.Tensor:
    """Cut `count` squares of `size` px at random out of (N, H, W, 3) bytes."""
    limit = pictures.shape[1] - size + 1
    which = chance.integers(len(pictures), size=count)
    corners = chance.integers(limit, size=(count, 2))
    cut = [pictures[i, y : y + size, x : x + size] for i, (y, x) in zip(which, corners, strict=True)]
    return to_tensor(numpy.stack(cut))


def train_autoencoder(
    model: AutoencoderKL, pictures: numpy.ndarray, settings: AutoencoderSettings, *, seed: int
) -> Iterator[tuple[MovingAverage, int, float, float]]:
    """Train for `settings.seconds` of wall time; yields (average, step, part of the time gone, loss) after every step.

    In a process group every process sees its own crops (give each its own seed).
    """
    chance = numpy.random.default_rng(seed)
    torch.manual_seed(seed)
    broadcast_weights(model)
    parameters = list(model.parameters())
    average = MovingAverage(model, settings.decay)
    optimiser = torch.optim.AdamW(parameters, settings.learning_rate, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
    begun, step, gone = monotonic(), 0, 0.0
    while gone < 1.0:
        rate = settings.learning_rate * min(1.0, (step + 1) / 50) * (0.5 + 0.5 * cos(pi * gone))
        for group in optimiser.param_groups:
            group["lr"] = rate
        batch = random_crops(pictures, settings.crop, settings.batch, chance).to(memory_format=torch.channels_last)
        mean = model.encode(batch).latent_dist.mean
        rebuilt = model.decode(mean + LATENT_NOISE * torch.randn_like(mean)).sample
        loss = reconstruction_loss(rebuilt, batch) + 3e-4 * mean.square().mean()
        loss.backward()
        gone, mean_loss = average_gradients(parameters, (monotonic() - begun) / settings.seconds, loss.item())
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        average.update(model)
        step += 1
        yield average, step, gone, mean_loss


@torch.no_grad()
def measure_psnr(model: AutoencoderKL, pictures: torch.Tensor) -> float:
    """Return the peak signal-to-noise ratio in dB of decode(encode(pictures)), over all pixels."""
    errors = [
        (model.decode(model.encode(chunk).latent_dist.mean).sample.clamp(-1, 1) - chunk).square().mean()
        for chunk in pictures.split(8)
    ]
    return float(-10 * (torch.stack(errors).mean() / 4).log10())


@torch.no_grad()
def whiten(model: AutoencoderKL, pictures: torch.Tensor) -> None:
    """Make the four latent channels uncorrelated with SD's scale, exactly, by the two 1x1 convolutions alone.

    Afterwards mean latents of `pictures` times `SCALE_FACTOR` have zero mean and identity covariance.
    """
    means = torch.cat([model.encode(chunk).latent_dist.mean for chunk in pictures.split(8)])
    flat = means.permute(1, 0, 2, 3).reshape(4, -1).double()
    centre = flat.mean(1)
    values, vectors = torch.linalg.eigh(torch.cov(flat))
    forward = (vectors.T / values.sqrt()[:, None]) / SCALE_FACTOR  # old -> new
    backward = torch.linalg.inv(forward)  # new -> old
    quant, post = model.quant_conv, model.post_quant_conv
    old_weight, old_bias = quant.weight[:, :, 0, 0].double(), quant.bias.double()
    spread = 2 * (LATENT_NOISE * forward.square().sum(1).sqrt()).log()
    quant.weight[:4, :, 0, 0] = (forward @ old_weight[:4]).float()
    quant.bias[:4] = (forward @ (old_bias[:4] - centre)).float()
    quant.weight[4:] = 0.0
    quant.bias[4:] = spread.float()
    old_post = post.weight[:, :, 0, 0].double()
    post.bias.copy_((post.bias.double() + old_post @ centre).float())
    post.weight[:, :, 0, 0] = (old_post @ backward).float()
