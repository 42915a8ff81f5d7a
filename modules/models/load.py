"""A checkpoint on disk -> a Model."""

from __future__ import annotations

from pathlib import Path

import torch

from modules.models.attention import PatchableAttention
from modules.models.build import build_text_encoder, build_text_encoder_2, build_unet, build_vae
from modules.models.checkpoint import read_file, read_vae
from modules.models.folder import read_folder
from modules.models.merges import GIB, MergeCache
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
    prediction = facts.prediction_type or probe_prediction(unet, checkpoint.variant)
    attention = PatchableAttention()
    unet.set_attn_processor(attention)
    first, second = checkpoint.text_encoder, checkpoint.text_encoder_2
    return Model(
        unet=unet,
        vae=loaded_vae,
        text_encoder=build_text_encoder(first, device=device, dtype=dtype) if first else None,
        text_encoder_2=build_text_encoder_2(second, device=device, dtype=dtype) if second else None,
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
        merges=MergeCache(_merge_limit(device)),
    )


def default_dtype(device: torch.device) -> torch.dtype:
    """float32 on a CPU, where halves are slow; float16 on anything faster."""
    return torch.float32 if device.type == "cpu" else torch.float16


def _merge_limit(device: torch.device) -> int:
    """Bytes for merged weights that wait for the next picture: an eighth of the card, or 2 GiB of main memory."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory // 8
    return 2 * GIB
