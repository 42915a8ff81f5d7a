"""What a checkpoint holds, read and understood, before anything is built from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from modules.models.convert import diffusers_vae_tensors, text_encoder_tensors, unet_tensors, vae_tensors
from modules.models.facts import Facts, read_facts
from modules.models.files import Weights, read_weights
from modules.models.identify import TEXT_ENCODER, UNET, VAE, refuse_others
from modules.models.layout import Layout, is_diffusers_vae, text_encoder_config, unet_config, vae_config

TIMESTEPS = 1000


@dataclass(frozen=True)
class Part:
    """One network as read: the arguments of its class, and its weights under that class's names."""

    path: Path
    config: Mapping[str, Any]
    tensors: Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """The three networks and the facts of one model; the VAE may have to come from a file of its own."""

    path: Path
    facts: Facts
    unet: Part
    text_encoder: Part
    vae: Part | None
    alphas_cumprod: torch.Tensor


def read_file(path: Path) -> Checkpoint:
    """A single-file checkpoint in the original SD 1.x layout. Raises BadFile for anything else, and names it."""
    weights = read_weights(path)
    refuse_others(path, weights.tensors)
    facts = read_facts(path, weights.metadata)
    if "v_pred" in weights.tensors:
        facts = replace(facts, prediction_type="v")
    unet = weights.under(UNET)
    vae = weights.under(VAE)
    text_encoder = text_encoder_tensors(weights.under(TEXT_ENCODER))
    config = unet_config(Layout(path, unet), facts)
    return Checkpoint(
        path=path,
        facts=facts,
        unet=Part(path, config, unet_tensors(unet, config)),
        text_encoder=Part(path, text_encoder_config(Layout(path, text_encoder), facts), text_encoder),
        vae=_vae_part(path, vae, facts) if vae else None,
        alphas_cumprod=_stored_schedule(weights, facts),
    )


def read_vae(path: Path, facts: Facts) -> Part:
    """A VAE in a file of its own, under original names (with or without their prefix) or diffusers'."""
    weights = read_weights(path)
    tensors = weights.under(VAE) or weights.tensors
    if "decoder.conv_in.weight" not in tensors:
        refuse_others(path, weights.tensors)
    return _vae_part(path, tensors, facts)


def _vae_part(path: Path, tensors: Mapping[str, torch.Tensor], facts: Facts) -> Part:
    config = vae_config(Layout(path, tensors), facts)
    converted = diffusers_vae_tensors(tensors) if is_diffusers_vae(tensors) else vae_tensors(tensors, config)
    return Part(path, config, converted)


def linear_schedule(facts: Facts) -> torch.Tensor:
    """(1000,) float32: the signal left at each timestep, with noise growing linearly in its standard deviation."""
    deviations = torch.linspace(facts.linear_start**0.5, facts.linear_end**0.5, TIMESTEPS, dtype=torch.float64)
    return torch.cumprod(1 - deviations**2, dim=0).float()


def _stored_schedule(weights: Weights, facts: Facts) -> torch.Tensor:
    """The schedule in the file, where it is there in full precision; otherwise the usual one.

    Half-precision copies of it, which many files hold, are too coarse to sample with.
    """
    stored = weights.tensors.get("alphas_cumprod")
    if stored is None or stored.dtype not in (torch.float32, torch.float64) or stored.shape != (TIMESTEPS,):
        return linear_schedule(facts)
    falls = bool(((stored[1:] < stored[:-1]) & (stored[1:] > 0) & (stored[:-1] < 1)).all())
    return stored.to(torch.float32, copy=True) if falls else linear_schedule(facts)
