"""A model saved as a diffusers folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from modules.models.checkpoint import Checkpoint, Part, linear_schedule
from modules.models.convert import diffusers_vae_tensors, text_encoder_tensors
from modules.models.facts import PREDICTIONS, Facts, read_json
from modules.models.files import read_weights
from modules.params import BadFile

PIPELINES = {"StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "LatentConsistencyModelPipeline"}
_FORMS = (".safetensors", ".fp16.safetensors", ".bin", ".fp16.bin")


def read_folder(path: Path) -> Checkpoint:
    """The networks of a diffusers folder, each with the configuration that lies beside it.

    Raises BadFile where the folder is incomplete or holds a pipeline of another family.
    """
    pipeline = _config(path / "model_index.json").get("_class_name")
    if pipeline not in PIPELINES:
        raise BadFile(path, f"is a diffusers folder of {pipeline}. Tagbrush loads Stable Diffusion 1.x folders.")
    unet = _part(path / "unet", "diffusion_pytorch_model")
    vae = _part(path / "vae", "diffusion_pytorch_model")
    text_encoder = _part(path / "text_encoder", "model", "pytorch_model")
    facts = _facts(path, unet.config, vae.config)
    _refuse_others(path, unet.config)
    return Checkpoint(
        path=path,
        facts=facts,
        unet=unet,
        text_encoder=Part(text_encoder.path, text_encoder.config, text_encoder_tensors(text_encoder.tensors)),
        vae=Part(vae.path, vae.config, diffusers_vae_tensors(vae.tensors)),
        alphas_cumprod=_schedule(path, facts),
    )


def _part(folder: Path, *stems: str) -> Part:
    config = _config(folder / "config.json")
    for form in _FORMS:
        for stem in stems:
            file = folder / f"{stem}{form}"
            if file.is_file():
                return Part(file, config, read_weights(file).tensors)
    raise BadFile(folder, f"holds no weights: {stems[0]}.safetensors is missing in {folder.parent.name}.")


def _config(file: Path) -> dict[str, Any]:
    config = read_json(file)
    if not isinstance(config, dict):
        raise BadFile(file, "is no configuration. Download the folder again.")
    return config


def _refuse_others(path: Path, unet: dict[str, Any]) -> None:
    channels = unet.get("in_channels", 4)
    if channels != 4:
        raise BadFile(
            path, f"is an inpainting model or the like: its UNet has {unet['in_channels']} input channels, not 4."
        )
    if unet.get("cross_attention_dim") in {1024, 2048} or unet.get("addition_embed_type"):
        raise BadFile(path, "is a model of Stable Diffusion 2 or SDXL. Tagbrush loads Stable Diffusion 1.x.")


def _facts(path: Path, unet: dict[str, Any], vae: dict[str, Any]) -> Facts:
    scheduler = _config(path / "scheduler" / "scheduler_config.json")
    side = int(unet.get("sample_size") or 64) * 2 ** (len(vae.get("block_out_channels", "4444")) - 1)
    return Facts(
        prediction_type=PREDICTIONS.get(scheduler.get("prediction_type", "epsilon"), "epsilon"),
        native_size=(side, side),
        scale_factor=float(vae.get("scaling_factor") or 0.18215),
        linear_start=float(scheduler.get("beta_start", 0.00085)),
        linear_end=float(scheduler.get("beta_end", 0.012)),
    )


def _schedule(path: Path, facts: Facts) -> torch.Tensor:
    kind = _config(path / "scheduler" / "scheduler_config.json").get("beta_schedule", "scaled_linear")
    if kind != "scaled_linear":
        raise BadFile(path, f'has the noise schedule "{kind}"; SD 1.x has "scaled_linear".')
    return linear_schedule(facts)
