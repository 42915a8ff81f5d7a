"""A checkpoint on disk -> a Model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from modules.models.attention import PatchableAttention
from modules.models.build import build_text_encoder, build_text_encoder_2, build_unet, build_vae, originals
from modules.models.checkpoint import Part, read_file, read_vae
from modules.models.facts import Facts
from modules.models.folder import read_folder
from modules.models.merges import Merges, Sources
from modules.models.model import Model
from modules.models.preview import latent_to_rgb
from modules.models.probe import probe_prediction
from modules.params import BadFile

NO_VAE = "holds no VAE. Choose one under Settings, SD VAE (files lie in models/VAE)."


def load(
    path: Path | str,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    vae: Path | str | None = None,
    vae_dtype: torch.dtype | None = None,
    checks_numbers: bool = True,
    spares_memory: bool = False,
) -> Model:
    """The model of a checkpoint file or a diffusers folder, its weights on `device` in `dtype`.

    `dtype` None means float32 on a CPU and float16 elsewhere; the VAE has `vae_dtype`, or the same. `vae` names a file
    whose VAE is used in place of the checkpoint's, as `with_vae` does. Never looks anywhere but on disk. Raises
    BadFile, which names what is wrong with which file.
    """
    path = Path(path)
    device = torch.device(device)
    dtype = dtype or default_dtype(device)
    vae_dtype = vae_dtype or dtype
    checkpoint = read_folder(path) if path.is_dir() else read_file(path)
    if checkpoint.vae is None and vae is None:
        raise BadFile(path, NO_VAE)
    other = read_vae(Path(vae), checkpoint.facts) if vae is not None else None
    facts = checkpoint.facts
    unet = build_unet(checkpoint.unet, device=device, dtype=dtype)
    own_vae = build_vae(checkpoint.vae, device=device, dtype=vae_dtype) if checkpoint.vae else None
    used_vae = build_vae(other, device=device, dtype=vae_dtype) if other else own_vae
    assert used_vae is not None
    first, second = checkpoint.text_encoder, checkpoint.text_encoder_2
    text_encoder = build_text_encoder(first, device=device, dtype=dtype) if first else None
    text_encoder_2 = build_text_encoder_2(second, device=device, dtype=dtype) if second else None
    prediction = facts.prediction_type or probe_prediction(unet, checkpoint.variant)
    attention = PatchableAttention()
    unet.set_attn_processor(attention)
    return Model(
        unet=unet,
        vae=used_vae,
        own_vae=own_vae if other else None,
        vae_path=other.path if other else None,
        text_encoder=text_encoder,
        text_encoder_2=text_encoder_2,
        family=facts.family,
        variant=checkpoint.variant,
        prediction_type=prediction,
        alphas_cumprod=checkpoint.alphas_cumprod,
        rgb=latent_to_rgb(used_vae, facts.scale_factor, facts.family),
        path=path,
        device=device,
        dtype=dtype,
        scale_factor=facts.scale_factor,
        checks_numbers=checks_numbers,
        spares_memory=spares_memory,
        attention=attention,
        merges=Merges(
            _sources(
                unet=(unet, checkpoint.unet),
                text_encoder=(text_encoder, first),
                text_encoder_2=(text_encoder_2, second),
            )
        ),
    )


def with_vae(model: Model, path: Path | str | None) -> Model:
    """The model with the VAE of a file, or with its own again (None); everything else is shared, and nothing is copied.

    The checkpoint's own VAE is kept, so that it comes back bit for bit (D022). Raises BadFile.
    """
    own = model.own_vae if model.vae_path else model.vae
    if path is None:
        if own is None:
            raise BadFile(model.path, NO_VAE)
        return replace(
            model, vae=own, own_vae=None, vae_path=None, rgb=latent_to_rgb(own, model.scale_factor, model.family)
        )
    groups = model.vae.config.norm_num_groups
    facts = Facts(family=model.family, scale_factor=model.scale_factor, vae_groups=groups)
    vae = build_vae(read_vae(Path(path), facts), device=model.device, dtype=model.vae.dtype)
    rgb = latent_to_rgb(vae, model.scale_factor, model.family)
    return replace(model, vae=vae, own_vae=own, vae_path=Path(path), rgb=rgb)


def _sources(**networks: tuple[nn.Module | None, Part | None]) -> Sources:
    """What of the networks can be read from its file again, so that no copy is needed to put it back."""
    there = {name: (module, part) for name, (module, part) in networks.items() if module is not None and part}
    views = {name: originals(module, part) for name, (module, part) in there.items()}
    tensors = {f"{name}.{key}": view for name, found in views.items() for key, view in found.items()}
    return Sources.of(tensors, {file.path for name, (_, part) in there.items() if views[name] for file in part.mapped})


def default_dtype(device: torch.device) -> torch.dtype:
    """float32 on a CPU, where halves are slow; float16 on anything faster."""
    return torch.float32 if device.type == "cpu" else torch.float16
