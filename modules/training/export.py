"""A trained model in the layout of an original SD 1.x file: diffusers' and transformers' names mapped back."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

from modules.models.places import clip_places, to_original, unet_places, vae_places
from modules.training.diffusion import BETA_END, BETA_START, STEPS, make_alphas_cumprod

UNET_PREFIX = "model.diffusion_model."
VAE_PREFIX = "first_stage_model."
TEXT_PREFIX = "cond_stage_model.transformer.text_model."

Weights = Mapping[str, torch.Tensor]


def text_to_original(weights: Weights) -> dict[str, torch.Tensor]:
    """Name a CLIP text tower's weights as an SD 1.x file does, without prefix; adds the position ids it has."""
    named = to_original(weights, clip_places)
    positions = len(named["embeddings.position_embedding.weight"])
    return named | {"embeddings.position_ids": torch.arange(positions)[None]}


def schedule_to_original() -> dict[str, torch.Tensor]:
    """Return the noise schedule's tables as SD 1.x files carry them, fp32 of length 1000."""
    betas = torch.linspace(BETA_START**0.5, BETA_END**0.5, STEPS, dtype=torch.float64) ** 2
    share = make_alphas_cumprod().double()
    before = torch.cat([torch.ones(1, dtype=torch.float64), share[:-1]])
    variance = betas * (1 - before) / (1 - share)
    tables = {
        "betas": betas,
        "alphas_cumprod": share,
        "alphas_cumprod_prev": before,
        "sqrt_alphas_cumprod": share.sqrt(),
        "sqrt_one_minus_alphas_cumprod": (1 - share).sqrt(),
        "log_one_minus_alphas_cumprod": (1 - share).log(),
        "sqrt_recip_alphas_cumprod": share.rsqrt(),
        "sqrt_recipm1_alphas_cumprod": (1 / share - 1).sqrt(),
        "posterior_variance": variance,
        "posterior_log_variance_clipped": variance.clamp(min=1e-20).log(),
        "posterior_mean_coef1": betas * before.sqrt() / (1 - share),
        "posterior_mean_coef2": (1 - before) * (1 - betas).sqrt() / (1 - share),
    }
    return {name: table.float() for name, table in tables.items()}


def save_checkpoint(path: Path, *, unet: Weights, vae: Weights, text: Weights, metadata: dict[str, str]) -> None:
    """Write one `.safetensors` file: networks in fp16, tables in fp32, everything under SD 1.x's names."""
    tensors: dict[str, torch.Tensor] = {}
    networks = (
        (UNET_PREFIX, to_original(unet, unet_places)),
        (VAE_PREFIX, to_original(vae, vae_places)),
        (TEXT_PREFIX, text_to_original(text)),
    )
    for prefix, weights in networks:
        for name, tensor in weights.items():
            tensors[prefix + name] = (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
    tensors |= schedule_to_original()
    part = path.with_suffix(".part")
    save_file(tensors, part, metadata={"format": "pt", **metadata})
    part.chmod(0o644)  # safetensors makes files that only their owner reads
    part.replace(path)
