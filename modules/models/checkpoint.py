"""What a checkpoint holds, read and understood, before anything is built from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from modules.catalogue import Variant, architecture, averages_as_weights, holds_vae, refuse_others
from modules.models.convert import clip_tensors, diffusers_vae_tensors, openclip_tensors
from modules.models.facts import Facts, checked, count, read_facts
from modules.models.files import Weights, read_weights
from modules.models.layout import Layout, clip_config, is_diffusers_vae, openclip_config, unet_config, vae_config
from modules.models.mapped import MappedFile
from modules.models.places import Places, clip_places, openclip_places, same_names, unet_places, vae_places
from modules.models.schedule import linear_schedule, usable, zero_terminal_snr
from modules.params import BadFile

UNET = "model.diffusion_model."
VAE = "first_stage_model."
CLIP: Mapping[str, str] = {"sd1": "cond_stage_model.transformer.", "sdxl": "conditioner.embedders.0.transformer."}
OPENCLIP: Mapping[str, str] = {
    "sd2": "cond_stage_model.model.",
    "sdxl": "conditioner.embedders.1.model.",
    "sdxl_refiner": "conditioner.embedders.0.model.",
}

SD2_TEXT_LAYERS = 23
"""Of OpenCLIP-H's 24."""


@dataclass(frozen=True)
class Part:
    """One network as read: the arguments of its class, its weights as the file names them, and where each one lies."""

    path: Path
    config: Mapping[str, Any]
    tensors: Mapping[str, torch.Tensor]
    places: Places = same_names
    mapped: tuple[MappedFile, ...] = ()
    """The files that the tensors are views of."""


@dataclass(frozen=True)
class Checkpoint:
    """The networks and the facts of one model; the VAE may have to come from a file of its own."""

    path: Path
    facts: Facts
    variant: Variant
    unet: Part
    text_encoder: Part | None
    text_encoder_2: Part | None
    vae: Part | None
    alphas_cumprod: torch.Tensor


def read_file(path: Path) -> Checkpoint:
    """A single-file checkpoint in the original layout. Raises BadFile for anything else, and names it."""
    weights = read_weights(path)
    weights = replace(weights, tensors=averages_as_weights(weights.tensors))
    found = architecture(path, weights.tensors, weights.metadata)
    facts = read_facts(path, weights.metadata, found)
    text_encoder, text_encoder_2 = _text_encoders(weights, facts)
    unet = weights.under(UNET)
    pooled_width = text_encoder_2.config["projection_dim"] if text_encoder_2 else 0
    vae = weights.under(VAE)
    return Checkpoint(
        path=path,
        facts=facts,
        variant=found.variant,
        unet=Part(path, unet_config(Layout(path, unet), facts, pooled_width), unet, unet_places, weights.mapped),
        text_encoder=text_encoder,
        text_encoder_2=text_encoder_2,
        vae=_vae_part(weights, vae, facts) if holds_vae(vae) else None,
        alphas_cumprod=noise_schedule(facts, weights.tensors.get("alphas_cumprod")),
    )


def read_vae(path: Path, facts: Facts) -> Part:
    """A VAE in a file of its own, under original names (with or without their prefix) or diffusers'.

    `facts` are those of the checkpoint that it is for. Raises BadFile.
    """
    weights = read_weights(path)
    tensors = weights.under(VAE) or weights.tensors
    if "decoder.conv_in.weight" not in tensors:
        refuse_others(path, weights.tensors)
        raise BadFile(path, "holds no VAE. Choose another file under Settings, SD VAE.")
    return _vae_part(weights, tensors, replace(facts, vae_groups=_vae_groups(weights, tensors, facts)))


def _vae_groups(weights: Weights, tensors: Mapping[str, torch.Tensor], facts: Facts) -> int:
    """As the file says; otherwise the usual number, unless the VAE is too narrow to have been made with it."""
    told = weights.metadata.get("tagbrush.vae.groups")
    if told:
        return checked(weights.path, "tagbrush.vae.groups", told, count)
    widths = vae_config(Layout(weights.path, tensors), replace(facts, vae_groups=1))["block_out_channels"]
    usual = Facts().vae_groups
    return facts.vae_groups if any(width % usual for width in widths) else usual


def _vae_part(weights: Weights, tensors: Mapping[str, torch.Tensor], facts: Facts) -> Part:
    config = vae_config(Layout(weights.path, tensors), facts)
    if is_diffusers_vae(tensors):
        return Part(weights.path, config, diffusers_vae_tensors(tensors), mapped=weights.mapped)
    return Part(weights.path, config, tensors, vae_places, weights.mapped)


def _text_encoders(weights: Weights, facts: Facts) -> tuple[Part | None, Part | None]:
    """The text encoder and the second one, as the family has them."""
    if facts.family == "sd1":
        return _clip(weights, facts), None
    if facts.family == "sd2":
        return _openclip_h(weights, facts), None
    return (_clip(weights, facts) if facts.family == "sdxl" else None), _openclip(weights, facts)


def _clip(weights: Weights, facts: Facts) -> Part:
    tensors = clip_tensors(_under(weights, CLIP[facts.family], "text encoder"))
    return Part(weights.path, clip_config(Layout(weights.path, tensors), facts), tensors, clip_places, weights.mapped)


def _openclip(weights: Weights, facts: Facts) -> Part:
    name = "second text encoder (OpenCLIP bigG)" if facts.family == "sdxl" else "text encoder (OpenCLIP)"
    tensors = openclip_tensors(_under(weights, OPENCLIP[facts.family], name))
    config = openclip_config(Layout(weights.path, tensors), facts)
    return Part(weights.path, config, tensors, openclip_places, weights.mapped)


def _openclip_h(weights: Weights, facts: Facts) -> Part:
    """SD 2's text encoder without its last layer, which the UNet never saw: it was trained on the state before.

    Files that were made from diffusers' folders lack that layer already.
    """
    part = _openclip(weights, facts)
    layers = part.config["num_hidden_layers"]
    if layers < 2:
        raise BadFile(weights.path, f"has a text encoder of {layers} layers; that of SD 2 has 24.")
    used = layers if layers == SD2_TEXT_LAYERS else layers - 1
    return replace(part, config={**part.config, "num_hidden_layers": used})


def _under(weights: Weights, prefix: str, name: str) -> dict[str, torch.Tensor]:
    tensors = weights.under(prefix)
    if not tensors:
        reason = f"has no {name}. Get the full checkpoint rather than the UNet alone."
        raise BadFile(weights.path, reason)
    return tensors


def noise_schedule(facts: Facts, stored: torch.Tensor | None = None) -> torch.Tensor:
    """(1000,) float32: the file's schedule where it can be used, else the usual one; ended at 0 if so said.

    Only files of SD 1 and SD 2 have one that A1111 reads: in SDXL's training code it is no part of the model.
    """
    if stored is not None and facts.family in ("sd1", "sd2") and usable(stored):
        schedule = stored.to(torch.float32, copy=True)
    else:
        schedule = linear_schedule(facts.linear_start, facts.linear_end)
    return zero_terminal_snr(schedule) if facts.is_ztsnr else schedule
