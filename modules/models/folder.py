"""A model saved as a diffusers folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from modules.catalogue import EDM_SDXL, VARIANT_OF_CHANNELS, Variant, unsupported
from modules.models.checkpoint import Checkpoint, Part, noise_schedule
from modules.models.convert import clip_tensors, diffusers_vae_tensors
from modules.models.facts import Facts, checked, count, family_facts, positive, prediction, read_json
from modules.models.files import read_weights
from modules.models.layout import Layout, clip_config
from modules.models.model import Family
from modules.models.places import clip_places
from modules.params import BadFile

_PIPELINE = re.compile(
    r"(StableDiffusion(XL)?(Img2Img|Inpaint|InstructPix2Pix)?|LatentConsistencyModel(Img2Img)?)Pipeline"
)
_SD2_WIDTH = 1024
_FORMS = (".safetensors", ".fp16.safetensors", ".bin", ".fp16.bin")
_SHARDED_FORMS = tuple(f"{kind}.index{variant}.json" for kind in (".safetensors", ".bin") for variant in ("", ".fp16"))


def read_folder(path: Path) -> Checkpoint:
    """The networks of a diffusers folder, each with the configuration that lies beside it.

    Raises BadFile where the folder is incomplete or holds a pipeline of another family.
    """
    index = _config(path / "model_index.json")
    pipeline = index.get("_class_name")
    if not isinstance(pipeline, str) or not _PIPELINE.fullmatch(pipeline):
        known = "Tagbrush loads folders of Stable Diffusion 1, 2 and XL"
        raise BadFile(path, f"is a diffusers folder of {pipeline}. {known}; choose another one.")
    unet = _part(path / "unet", "diffusion_pytorch_model")
    vae = _vae(_part(path / "vae", "diffusion_pytorch_model")) if _has(path, index, "vae") else None
    first, second = (_text_encoder(path, index, name) for name in ("text_encoder", "text_encoder_2"))
    variant = _variant(path, unet.config)
    facts = _facts(path, _family(path, unet.config, first, second), vae.config if vae else {})
    return Checkpoint(
        path=path,
        facts=facts,
        variant=variant,
        unet=unet,
        text_encoder=_clip(first, path) if first else None,
        text_encoder_2=_clip(second, path) if second else None,
        vae=vae,
        alphas_cumprod=noise_schedule(facts),
    )


def _text_encoder(path: Path, index: Mapping[str, Any], name: str) -> Part | None:
    """A text encoder, None where the pipeline has none."""
    return _part(path / name, "model", "pytorch_model") if _has(path, index, name) else None


def _has(path: Path, index: Mapping[str, Any], name: str) -> bool:
    """Whether the pipeline has a network: as its index says, or its folder where that says nothing."""
    if name in index:
        named = index[name]
        return isinstance(named, list) and any(named)
    return (path / name / "config.json").is_file()


def _family(path: Path, unet: Mapping[str, Any], first: Part | None, second: Part | None) -> Family:
    """By the text encoders that there are, and by what activates the only one: SD 2's has the exact GELU."""
    if second is not None:
        return "sdxl" if first is not None else "sdxl_refiner"
    if first is None:
        raise BadFile(path, "has no text encoder. Download the whole folder, text_encoder/ included.")
    if unet.get("addition_embed_type"):
        raise BadFile(path, "has no second text encoder. Download the whole folder, text_encoder_2/ included.")
    is_openclip = unet.get("cross_attention_dim") == _SD2_WIDTH or first.config.get("hidden_act") == "gelu"
    return "sd2" if is_openclip else "sd1"


def _clip(part: Part, folder: Path) -> Part:
    """The text encoder, of whose configuration only numbers count: other keys can name code to be fetched."""
    tensors = clip_tensors(part.tensors)
    layout = Layout(part.path, tensors)
    heads = part.config.get("num_attention_heads")
    clip_heads = None if heads is None else checked(folder, "num_attention_heads", heads, count)
    config = clip_config(layout, Facts(clip_heads=clip_heads))
    readers: dict[str, Callable[[Any], Any]] = {"hidden_act": _name, "layer_norm_eps": positive}
    told = {key: read for key, read in readers.items() if part.config.get(key) is not None}
    config |= {key: checked(_said_in(part), key, part.config[key], read) for key, read in told.items()}
    if "text_projection.weight" in tensors:
        config["projection_dim"] = layout.shape("text_projection.weight", 2)[0]
    return replace(part, config=config, tensors=tensors, places=clip_places)


def _said_in(part: Part) -> Path:
    return part.path.with_name("config.json")


def _name(got: Any) -> str:
    if not isinstance(got, str):
        raise TypeError("no name")
    return got


def _vae(part: Part) -> Part:
    """The VAE. Raises BadFile where its lists differ in their number of levels, which diffusers would not notice."""
    lists = [part.config.get(key) for key in ("down_block_types", "up_block_types", "block_out_channels")]
    if len({len(levels) if isinstance(levels, list) else 0 for levels in lists}) > 1:
        raise BadFile(_said_in(part), "has lists of the VAE's levels that differ in length. Download it again.")
    return replace(part, tensors=diffusers_vae_tensors(part.tensors))


def _part(folder: Path, *stems: str) -> Part:
    config = _config(folder / "config.json")
    if config.get("norm_num_groups") is not None:
        checked(folder / "config.json", "norm_num_groups", config["norm_num_groups"], count)
    for form in _FORMS:
        for stem in stems:
            file = folder / f"{stem}{form}"
            if file.is_file():
                weights = read_weights(file)
                return Part(file, config, weights.tensors, mapped=weights.mapped)
    for form in _SHARDED_FORMS:
        for stem in stems:
            index = folder / f"{stem}{form}"
            if index.is_file():
                return _sharded(index, config)
    raise BadFile(folder, f"holds no weights: {stems[0]}.safetensors is missing in {folder.parent.name}.")


def _sharded(index: Path, config: dict[str, Any]) -> Part:
    """A network whose weights are spread over several files, which its index names."""
    places = _config(index).get("weight_map")
    names = list(places.values()) if isinstance(places, dict) else []
    if not names or not all(isinstance(name, str) and name == Path(name).name for name in names):
        raise BadFile(index, "names no files beside it. Download the folder again.")
    shards = [read_weights(index.parent / name) for name in sorted(set(names))]
    tensors = {name: tensor for shard in shards for name, tensor in shard.tensors.items()}
    return Part(index, config, tensors, mapped=tuple(file for shard in shards for file in shard.mapped))


def _config(file: Path) -> dict[str, Any]:
    config = read_json(file)
    if not isinstance(config, dict):
        raise BadFile(file, "is no configuration. Download the folder again.")
    return config


def _variant(path: Path, unet: Mapping[str, Any]) -> Variant:
    channels = unet.get("in_channels", 4)
    if not isinstance(channels, int) or channels not in VARIANT_OF_CHANNELS:
        reason = f"has a UNet that reads {channels} channels; 4 (plain), 8 (pix2pix) and 9 (inpainting) are known."
        raise BadFile(path, reason)
    return VARIANT_OF_CHANNELS[channels]


def _facts(path: Path, family: Family, vae: Mapping[str, Any]) -> Facts:
    file = path / "scheduler" / "scheduler_config.json"
    scheduler = _config(file)
    if str(scheduler.get("_class_name", "")).startswith("EDM") or scheduler.get("sigma_data") is not None:
        raise unsupported(path, EDM_SDXL)
    kind = scheduler.get("beta_schedule", "scaled_linear")
    if kind != "scaled_linear":
        raise BadFile(file, f'has the noise schedule "{kind}"; Stable Diffusion has "scaled_linear".')
    readers: dict[str, tuple[Mapping[str, Any], str, Callable[[Any], Any]]] = {
        "prediction_type": (scheduler, "prediction_type", prediction),
        "linear_start": (scheduler, "beta_start", positive),
        "linear_end": (scheduler, "beta_end", positive),
        "is_ztsnr": (scheduler, "rescale_betas_zero_snr", bool),
        "scale_factor": (vae, "scaling_factor", positive),
    }
    told = {
        fact: checked(path, key, config[key], read)
        for fact, (config, key, read) in readers.items()
        if config.get(key) is not None
    }
    return replace(family_facts(family), **told)
