"""A checkpoint on disk -> a Model."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from modules.models.attention import PatchableAttention
from modules.models.build import build_text_encoder, build_text_encoder_2, build_unet, build_vae, originals
from modules.models.checkpoint import Part, read_file, read_vae
from modules.models.folder import read_folder
from modules.models.merges import Merges, Sources
from modules.models.model import Model
from modules.models.preview import latent_to_rgb
from modules.models.probe import probe_prediction
from modules.params import BadFile


def load(
    path: Path | str,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    vae: Path | str | None = None,
) -> Model:
    """The model of a checkpoint file or a diffusers folder, its weights on `device` in `dtype`.

    `dtype` None means float32 on a CPU and float16 elsewhere. `vae` names a file whose VAE takes the place of the
    checkpoint's. Never looks anywhere but on disk. Raises BadFile, which names what is wrong with which file.
    """
    path = Path(path)
    device = torch.device(device)
    dtype = dtype or default_dtype(device)
    checkpoint = read_folder(path) if path.is_dir() else read_file(path)
    vae_part = read_vae(Path(vae), checkpoint.facts) if vae is not None else checkpoint.vae
    if vae_part is None:
        raise BadFile(path, "holds no VAE. Choose one under Settings, SD VAE (files lie in models/VAE).")
    facts = checkpoint.facts
    unet = build_unet(checkpoint.unet, device=device, dtype=dtype)
    loaded_vae = build_vae(vae_part, device=device, dtype=dtype)
    first, second = checkpoint.text_encoder, checkpoint.text_encoder_2
    text_encoder = build_text_encoder(first, device=device, dtype=dtype) if first else None
    text_encoder_2 = build_text_encoder_2(second, device=device, dtype=dtype) if second else None
    prediction = facts.prediction_type or probe_prediction(unet, checkpoint.variant)
    attention = PatchableAttention()
    unet.set_attn_processor(attention)
    return Model(
        unet=unet,
        vae=loaded_vae,
        text_encoder=text_encoder,
        text_encoder_2=text_encoder_2,
        family=facts.family,
        variant=checkpoint.variant,
        prediction_type=prediction,
        alphas_cumprod=checkpoint.alphas_cumprod,
        rgb=latent_to_rgb(loaded_vae, facts.scale_factor),
        path=path,
        device=device,
        dtype=dtype,
        scale_factor=facts.scale_factor,
        attention=attention,
        merges=Merges(
            _sources(
                unet=(unet, checkpoint.unet),
                text_encoder=(text_encoder, first),
                text_encoder_2=(text_encoder_2, second),
            )
        ),
    )


def _sources(**networks: tuple[nn.Module | None, Part | None]) -> Sources:
    """What of the networks can be read from its file again, so that no copy is needed to put it back."""
    there = {name: (module, part) for name, (module, part) in networks.items() if module is not None and part}
    views = {name: originals(module, part) for name, (module, part) in there.items()}
    tensors = {f"{name}.{key}": view for name, found in views.items() for key, view in found.items()}
    return Sources.of(tensors, {part.path for name, (_, part) in there.items() if views[name]})


def default_dtype(device: torch.device) -> torch.dtype:
    """float32 on a CPU, where halves are slow; float16 on anything faster."""
    return torch.float32 if device.type == "cpu" else torch.float16
