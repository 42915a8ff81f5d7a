"""Checkpoints of every family with random weights, a few hundred KB each but for CLIP's vocabulary.

`FAMILIES` names one structure of each kind that Tagbrush loads; `write` makes its file in the original layout, and
`write_folder` the diffusers folder of the same networks.
"""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from modules.models.places import clip_places, openclip_places, to_original, unet_places, vae_places
from modules.training.export import schedule_to_original

Tensors = dict[str, torch.Tensor]
UNET, VAE = "model.diffusion_model.", "first_stage_model."
CLIP = {"sd1": "cond_stage_model.transformer.text_model.", "sdxl": "conditioner.embedders.0.transformer.text_model."}
OPENCLIP = {
    "sd2": "cond_stage_model.model.",
    "sdxl": "conditioner.embedders.1.model.",
    "sdxl_refiner": "conditioner.embedders.0.model.",
}
SIZES = {"sdxl": 6, "sdxl_refiner": 5}


@dataclass(frozen=True)
class Structure:
    """What may differ from the family's original and must be read from the file."""

    widths: tuple[int, ...] = (16, 24)
    attention: tuple[bool, ...] = (True, False)
    layers: int = 1
    depth: int | tuple[int | tuple[int, ...], ...] = 1
    depth_up: tuple[int | tuple[int, ...], ...] | None = None
    """Where the way up has other depths than the way down, from the coarsest level on."""
    has_middle_attention: bool = True
    linear: bool = False
    channels: int = 4
    heads: int | None = 8
    """None: one for every 64 channels."""
    groups: int = 8
    vae_widths: tuple[int, ...] = (8, 16, 16, 24)
    vae_layers: int = 1
    vae_groups: int = 8
    text_width: int = 16
    text_layers: int = 2
    text_heads: int = 2
    text_2_width: int = 0
    text_2_layers: int = 3
    pooled_width: int = 48
    size_width: int = 8
    """Of the sinusoid of each of SDXL's picture sizes."""
    prediction: str | None = "v"
    """As the metadata says it; None says nothing."""
    scale_factor: float = 0.18215
    family: str = "sd1"

    def metadata(self) -> dict[str, str]:
        told = {
            "modelspec.prediction_type": self.prediction,
            "tagbrush.unet.heads": self.heads,
            "tagbrush.unet.groups": self.groups if self.groups != 32 else None,
            "tagbrush.vae.groups": self.vae_groups if self.vae_groups != 32 else None,
            "tagbrush.clip.heads": self.text_heads if self.text_heads != 1 else None,
        }
        return {key: str(value) for key, value in told.items() if value is not None}

    @property
    def context_width(self) -> int:
        return {
            "sd1": self.text_width,
            "sd2": self.text_width,
            "sdxl": self.text_width + self.text_2_width,
            "sdxl_refiner": self.text_2_width,
        }[self.family]

    @property
    def added_width(self) -> int:
        return self.pooled_width + SIZES.get(self.family, 0) * self.size_width


_SD1 = Structure(
    widths=(32, 64), groups=32, vae_widths=(32, 32, 32, 32), vae_groups=32, text_width=32, text_heads=1, prediction=None
)
_SD2 = replace(_SD1, family="sd2", linear=True, heads=None, widths=(64, 128), text_width=64, text_layers=3)
_SDXL = replace(
    _SD2,
    family="sdxl",
    widths=(32, 64, 128),
    attention=(False, True, True),
    depth=(1, 1, 2),
    text_width=32,
    text_layers=2,
    text_2_width=64,
    scale_factor=0.13025,
)
_REFINER = replace(
    _SDXL,
    family="sdxl_refiner",
    widths=(32, 64, 64, 128),
    attention=(False, True, True, False),
    depth=(2, 2, 2, 2),
)
FAMILIES: Mapping[str, Structure] = MappingProxyType(
    {
        "sd1": _SD1,
        "sd1_inpaint": replace(_SD1, channels=9),
        "sd1_pix2pix": replace(_SD1, channels=8),
        "sd2": replace(_SD2, prediction="epsilon"),
        "sd2_v": replace(_SD2, prediction="v"),
        "sd2_inpaint": replace(_SD2, channels=9),
        "sdxl": _SDXL,
        "sdxl_v": replace(_SDXL, prediction="v"),
        "sdxl_inpaint": replace(_SDXL, channels=9),
        "sdxl_pix2pix": replace(_SDXL, channels=8),
        "sdxl_refiner": _REFINER,
    }
)
"""One of each kind; heads, groups and the like are their family's, so that the files need no metadata for them."""


@dataclass(frozen=True)
class Networks:
    """The networks as diffusers and transformers make them; `text_encoder_2` is OpenCLIP-bigG's place."""

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel | None
    text_encoder_2: CLIPTextModelWithProjection | None = None


def make_networks(structure: Structure) -> Networks:
    """Networks whose random weights are exact in half precision; SD 2's text encoder with all its layers.

    They are the caller's own; the random numbers that torch gives next are always the same.
    """
    networks = copy.deepcopy(_make_networks(structure))
    torch.manual_seed(1)
    return networks


@functools.cache
def _make_networks(structure: Structure) -> Networks:
    torch.manual_seed(1)
    unet = UNet2DConditionModel(**unet_arguments(structure))
    vae = make_vae(structure)
    first = second = None
    if structure.family != "sdxl_refiner":
        act = "gelu" if structure.family == "sd2" else "quick_gelu"
        first = CLIPTextModel(
            _text_config(structure.text_width, structure.text_layers, structure.text_heads, act, structure.text_width)
        )
    if structure.family in SIZES:
        second = CLIPTextModelWithProjection(
            _text_config(structure.text_2_width, structure.text_2_layers, 1, "gelu", structure.pooled_width)
        )
    networks = Networks(unet, vae, first, second)
    for network in (networks.unet, networks.vae, networks.text_encoder, networks.text_encoder_2):
        if network is not None:
            network.half().float().requires_grad_(False).eval()
    return networks


def make_vae(structure: Structure) -> AutoencoderKL:
    """The VAE alone, with weights drawn from torch's present state."""
    levels = len(structure.vae_widths)
    return AutoencoderKL(
        block_out_channels=structure.vae_widths,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=structure.vae_layers,
        norm_num_groups=structure.vae_groups,
        scaling_factor=structure.scale_factor,
    )


def unet_arguments(structure: Structure) -> dict[str, Any]:
    added = {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": structure.size_width,
        "projection_class_embeddings_input_dim": structure.added_width,
    }
    return {
        "in_channels": structure.channels,
        "block_out_channels": structure.widths,
        "down_block_types": [f"{'CrossAttn' * here}DownBlock2D" for here in structure.attention],
        "up_block_types": [f"{'CrossAttn' * here}UpBlock2D" for here in reversed(structure.attention)],
        "layers_per_block": structure.layers,
        "transformer_layers_per_block": structure.depth,
        "reverse_transformer_layers_per_block": structure.depth_up,
        "mid_block_type": "UNetMidBlock2DCrossAttn" if structure.has_middle_attention else "UNetMidBlock2D",
        "use_linear_projection": structure.linear,
        "cross_attention_dim": structure.context_width,
        "attention_head_dim": structure.heads or [max(width // 64, 1) for width in structure.widths],
        "norm_num_groups": structure.groups,
    } | (added if structure.family in SIZES else {})


def _text_config(width: int, layers: int, heads: int, act: str, projection: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=49408,
        hidden_size=width,
        intermediate_size=width * 3,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        hidden_act=act,
        projection_dim=projection,
        bos_token_id=49406,
        eos_token_id=49407,
    )


def original_tensors(structure: Structure, networks: Networks, dtype: torch.dtype = torch.float16) -> Tensors:
    """The networks' weights under their original names, with the tables and position ids that such files carry."""
    tensors = _prefixed(UNET, to_original(networks.unet.state_dict(), unet_places))
    tensors |= _prefixed(VAE, to_original(networks.vae.state_dict(), vae_places))
    family = structure.family
    first = networks.text_encoder
    if first is not None and family in CLIP:
        tensors |= _prefixed(CLIP[family], to_original(first.state_dict(), clip_places))
    if first is not None and family == "sd2":
        tensors |= _prefixed(OPENCLIP[family], to_original(first.state_dict(), openclip_places))
        tensors[f"{OPENCLIP[family]}text_projection"] = torch.randn(structure.text_width, structure.text_width)
    if networks.text_encoder_2 is not None:
        tensors |= _prefixed(OPENCLIP[family], to_original(networks.text_encoder_2.state_dict(), openclip_places))
    tensors = {name: tensor.to(dtype).contiguous() for name, tensor in tensors.items()}
    if family in CLIP:
        tensors[f"{CLIP[family]}embeddings.position_ids"] = torch.arange(77)[None]
    if family in OPENCLIP:
        tensors[f"{OPENCLIP[family]}logit_scale"] = torch.tensor(4.6)
    return tensors | (schedule_to_original() if family in ("sd1", "sd2") else {})


def _prefixed(prefix: str, tensors: Tensors) -> Tensors:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def write(
    path: Path,
    structure: Structure,
    networks: Networks | None = None,
    *,
    dtype: torch.dtype = torch.float16,
    more: Tensors | None = None,
) -> Networks:
    """The networks, and a checkpoint of them in the original layout at `path`, with `more` tensors if given.

    A `.ckpt` is what PyTorch Lightning saves, and says nothing of itself; a `.safetensors` has the metadata.
    """
    networks = networks or make_networks(structure)
    tensors = original_tensors(structure, networks, dtype) | (more or {})
    if path.suffix == ".safetensors":
        save_file(tensors, path, metadata=structure.metadata())
    else:
        torch.save({"state_dict": tensors, "global_step": 7}, path)
    return networks


def write_folder(folder: Path, structure: Structure, networks: Networks) -> None:
    """The diffusers folder of the networks; of SD 2's text encoder without the last layer, as those folders are."""
    is_xl = structure.family in SIZES
    networks.unet.save_pretrained(folder / "unet")
    networks.vae.save_pretrained(folder / "vae")
    if networks.text_encoder is not None:
        dropped = 1 if structure.family == "sd2" else 0
        _write_text_encoder(folder / "text_encoder", networks.text_encoder, dropped)
    if networks.text_encoder_2 is not None:
        _write_text_encoder(folder / "text_encoder_2", networks.text_encoder_2, 0)
    (folder / "scheduler").mkdir()
    prediction = "v_prediction" if structure.prediction == "v" else "epsilon"
    schedule = {"beta_schedule": "scaled_linear", "prediction_type": prediction}
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(schedule), encoding="utf-8")
    task = {9: "Inpaint", 8: "InstructPix2Pix"}.get(structure.channels, "")
    if structure.family == "sdxl_refiner":
        task = "Img2Img"
    index: dict[str, Any] = {"_class_name": f"StableDiffusion{'XL' * is_xl}{task}Pipeline"}
    for name in ("text_encoder", "text_encoder_2")[: 1 + is_xl]:
        index[name] = ["transformers", "CLIP"] if getattr(networks, name) is not None else [None, None]
    (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")


def _write_text_encoder(folder: Path, encoder: torch.nn.Module, dropped: int) -> None:
    layers = encoder.config.num_hidden_layers
    config = encoder.config.to_dict() | {"num_hidden_layers": layers - dropped}
    gone = tuple(f"encoder.layers.{index}." for index in range(layers - dropped, layers))
    weights = {
        name: tensor.contiguous()
        for name, tensor in encoder.state_dict().items()
        if not name.removeprefix("text_model.").startswith(gone or ("nothing",))
    }
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config, default=str), encoding="utf-8")
    save_file(weights, folder / "model.safetensors")


def read(path: Path) -> Tensors:
    """The tensors of a safetensors file."""
    return load_file(path)
