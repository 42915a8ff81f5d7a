"""The text-to-image half of the built-in model: text encoder and UNet, trained together on a growing vocabulary."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import monotonic

import torch
from diffusers import UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

from modules.training import diffusion
from modules.training.averages import MovingAverage
from modules.training.parallel import average_weights, broadcast_weights
from modules.training.words import LENGTH


@dataclass(frozen=True, slots=True)
class DenoiserSettings:
    """Sizes of the two networks and the course of their training."""

    widths: tuple[int, ...] = (64, 96, 128, 192)
    attention: tuple[bool, ...] = (False, True, True, False)
    heads: int = 2
    groups: int = 8
    text_width: int = 64
    text_layers: int = 2
    text_heads: int = 2
    learning_rate: float = 1.2e-3
    warm_up: int = 60  # steps
    decay_from: float = 0.65  # part of the time after which the rate falls
    final_rate: float = 0.02  # of the learning rate
    average: float = 0.985  # once for every `apart` steps
    apart: int = 8  # steps that each process makes alone before their weights are averaged


class Denoiser(nn.Module):
    """Text encoder and UNet as one module: (latents, timesteps, tokens) to v."""

    def __init__(self, settings: DenoiserSettings, vocabulary: int) -> None:
        super().__init__()
        self.text = build_text_encoder(settings, vocabulary)
        self.unet = build_unet(settings)

    def forward(self, noisy: torch.Tensor, timesteps: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Predict v (B, 4, h, w) from latents (B, 4, h, w), timesteps (B,) and token ids (B, 77)."""
        context = self.text(tokens).last_hidden_state
        return self.unet(noisy, timesteps, context).sample


def build_text_encoder(settings: DenoiserSettings, vocabulary: int) -> CLIPTextModel:
    """Make CLIP's text tower with random weights; `vocabulary` rows in its table."""
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=settings.text_width,
        intermediate_size=settings.text_width * 4,
        num_hidden_layers=settings.text_layers,
        num_attention_heads=settings.text_heads,
        max_position_embeddings=LENGTH,
        hidden_act="quick_gelu",
        bos_token_id=0,
        eos_token_id=1,
    )
    return CLIPTextModel(config)


def build_unet(settings: DenoiserSettings) -> UNet2DConditionModel:
    """Make the UNet with random weights whose residual branches start at zero."""
    down = tuple("CrossAttnDownBlock2D" if here else "DownBlock2D" for here in settings.attention)
    up = tuple("CrossAttnUpBlock2D" if here else "UpBlock2D" for here in reversed(settings.attention))
    unet = UNet2DConditionModel(
        block_out_channels=settings.widths,
        down_block_types=down,
        up_block_types=up,
        layers_per_block=1,
        cross_attention_dim=settings.text_width,
        attention_head_dim=settings.heads,  # diffusers' name for the number of heads
        norm_num_groups=settings.groups,
    )
    for module in unet.modules():
        name = type(module).__name__
        if name == "ResnetBlock2D":
            nn.init.zeros_(module.conv2.weight)
        elif name == "Transformer2DModel":
            nn.init.zeros_(module.proj_out.weight)
    nn.init.zeros_(unet.conv_out.weight)
    return unet.to(memory_format=torch.channels_last)


Batch = tuple[torch.Tensor, torch.Tensor]
"""Clean latents (B, 4, h, w) and compact token ids (B, 77)."""


@dataclass
class Progress:
    """Where a training run stands; what it stores to go on later."""

    step: int = 0
    seconds: float = 0.0
    gone: float = 0.0  # part of the whole time, 0 to 1
    loss: float = 1.0
    decisive_error: float = 1.0  # running x0 error at t >= 800, where the text decides


class DenoiserTraining:
    """A run that can be stored, taken up again and followed step by step."""

    def __init__(self, model: Denoiser, settings: DenoiserSettings) -> None:
        self.model, self.settings = model, settings
        broadcast_weights(model)
        self.parameters = list(model.parameters())
        self.average = MovingAverage(model, settings.average)
        self.optimiser = torch.optim.AdamW(self.parameters, settings.learning_rate, betas=(0.9, 0.99), fused=True)
        self.alphas_cumprod = diffusion.make_alphas_cumprod()
        self.progress = Progress()

    def run(self, draw: Callable[[], Batch], seconds: float, *, rank: int = 0, workers: int = 1) -> Iterator[Progress]:
        """Train until `seconds` of wall time in all; yields every few steps. `draw` gives this process's batch."""
        progress = self.progress
        generator = torch.Generator().manual_seed(7919 * progress.step + rank)
        last = monotonic()
        while progress.gone < 1.0:
            for group in self.optimiser.param_groups:
                group["lr"] = self.learning_rate()
            losses = [self._step(draw(), generator, rank, workers) for _ in range(self.settings.apart)]
            now = monotonic()
            loss, decisive = (sum(column) / len(losses) for column in zip(*losses, strict=True))
            elapsed, loss, decisive = average_weights(self.parameters, now - last, loss, decisive)
            last = now
            self.average.update(self.model)
            progress.step += len(losses)
            progress.seconds += elapsed
            progress.gone = progress.seconds / seconds
            progress.loss += 0.15 * (loss - progress.loss)
            progress.decisive_error += 0.15 * (decisive - progress.decisive_error)
            yield progress

    def _step(self, batch: Batch, generator: torch.Generator, rank: int, workers: int) -> tuple[float, float]:
        losses = self._backward(batch, generator, rank, workers)
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        return losses

    def learning_rate(self) -> float:
        """Rise in the first steps, stay, then fall linearly with the time."""
        settings, progress = self.settings, self.progress
        fall = max(0.0, (progress.gone - settings.decay_from) / (1.0 - settings.decay_from))
        factor = 1.0 - (1.0 - settings.final_rate) * min(1.0, fall)
        return settings.learning_rate * factor * min(1.0, (progress.step + 1) / settings.warm_up)

    def _backward(self, batch: Batch, generator: torch.Generator, rank: int, workers: int) -> tuple[float, float]:
        clean, tokens = batch
        timesteps = diffusion.stratified_timesteps(len(clean), generator, rank, workers)
        noise = torch.randn(clean.shape, generator=generator)
        alpha, sigma = diffusion.signal_and_noise(self.alphas_cumprod, timesteps)
        noisy = diffusion.add_noise(clean, noise, alpha, sigma).contiguous(memory_format=torch.channels_last)
        predicted = self.model(noisy, timesteps, tokens)
        loss = (predicted - diffusion.velocity(clean, noise, alpha, sigma)).square().mean()
        loss.backward()
        with torch.no_grad():
            late = timesteps >= 800
            guess = diffusion.clean_from_velocity(noisy, predicted, alpha, sigma)
            error = (guess - clean)[late].square().mean() / clean.var()
        return loss.item(), error.item()

    def state_dict(self) -> dict[str, object]:
        """Return everything that `load_state_dict` needs to go on."""
        return {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "progress": vars(self.progress),
        }

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Go on from a stored run."""
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        vars(self.progress).update(state["progress"])
