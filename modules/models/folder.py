"""A model saved as a diffusers folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from modules.models.checkpoint import Checkpoint, Part, linear_schedule
from modules.models.convert import diffusers_vae_tensors, text_encoder_tensors
from modules.models.facts import Facts, checked, count, positive, prediction, read_json
from modules.models.files import read_weights
from modules.models.layout import Layout, text_encoder_config
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
    _refuse_others(path, unet.config)
    facts = _facts(path, unet.config, vae.config, text_encoder.config)
    return Checkpoint(
        path=path,
        facts=facts,
        unet=unet,
        text_encoder=_clip(text_encoder, facts),
        vae=Part(vae.path, vae.config, diffusers_vae_tensors(vae.tensors)),
        alphas_cumprod=linear_schedule(facts),
    )


def _clip(part: Part, facts: Facts) -> Part:
    """The text encoder, of whose configuration only numbers count: other keys can name code to be fetched."""
    tensors = text_encoder_tensors(part.tensors)
    told = {key: part.config[key] for key in ("hidden_act", "layer_norm_eps") if key in part.config}
    return Part(part.path, text_encoder_config(Layout(part.path, tensors), facts) | told, tensors)


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


def _refuse_others(path: Path, unet: Mapping[str, Any]) -> None:
    channels = unet.get("in_channels", 4)
    if channels != 4:
        raise BadFile(path, f"is an inpainting model or the like: its UNet has {channels} input channels, not 4.")
    if unet.get("cross_attention_dim") in (1024, 2048) or unet.get("addition_embed_type"):
        raise BadFile(path, "is a model of Stable Diffusion 2 or SDXL. Tagbrush loads Stable Diffusion 1.x.")


def _facts(path: Path, unet: Mapping[str, Any], vae: Mapping[str, Any], text_encoder: Mapping[str, Any]) -> Facts:
    file = path / "scheduler" / "scheduler_config.json"
    scheduler = _config(file)
    kind = scheduler.get("beta_schedule", "scaled_linear")
    if kind != "scaled_linear":
        raise BadFile(file, f'has the noise schedule "{kind}"; SD 1.x has "scaled_linear".')
    readers: dict[str, tuple[Mapping[str, Any], str, Callable[[Any], Any]]] = {
        "prediction_type": (scheduler, "prediction_type", prediction),
        "linear_start": (scheduler, "beta_start", positive),
        "linear_end": (scheduler, "beta_end", positive),
        "scale_factor": (vae, "scaling_factor", positive),
        "clip_heads": (text_encoder, "num_attention_heads", count),
    }
    facts = {
        fact: checked(path, key, config[key], read)
        for fact, (config, key, read) in readers.items()
        if config.get(key) is not None
    }
    return replace(Facts(), **facts)
