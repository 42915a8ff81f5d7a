"""What a file's contents tell: its family, sizes and metadata, or why it cannot be used."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modules.params import BadFile

from .entries import Facts, Family, Kind
from .headers import read_header
from .pickles import read_stubs
from .stubs import Opaque, TensorStub
from .texts import sendable

MAX_SHORT_VALUE = 500
"""Metadata values longer than this (tag statistics, data set lists) are read again when asked for."""

COVERS = ("ssmd_cover_images", "modelspec.thumbnail")
"""Metadata that holds pictures rather than text."""

LATENT_PIXELS = 8
MAX_SIDE = 8192
MAX_CFG_SCALE = 1000

Tensors = Mapping[str, TensorStub]

_UNET = "model.diffusion_model."
_CONTEXT_KEY = re.compile(r"attn2[._]to_k[._](?:lora_down[.]weight|lora_A[.]weight|lora_A[.]default[.]weight|weight)$")
_LORA_KEY = re.compile(r"^(lora_|lycoris_|oft_unet|unet\.|text_encoder\.)|\.(lora_up|lora_A|hada_w1_a|lokr_w1)")
_FAMILY_OF_WIDTH: Mapping[int, Family] = {768: "sd1", 1024: "sd2", 2048: "sdxl"}


def examine(kind: Kind, path: Path) -> Facts:
    """The facts of a file of the given kind; a file that cannot be used has them say why."""
    try:
        if path.is_dir():
            return _diffusers_folder(path)
        tensors, metadata, contents = _contents(path)
        return _EXAMINERS[kind](path, tensors, metadata, contents)
    except BadFile as error:
        return Facts(error=error.reason, is_fleeting=isinstance(error.__cause__, OSError))


def full_metadata(path: Path) -> dict[str, str]:
    """Everything a .safetensors file says of itself, but for its pictures; nothing for other files."""
    if path.suffix.lower() != ".safetensors":
        return {}
    return {key: value for key, value in read_header(path).metadata.items() if key not in COVERS}


def _contents(path: Path) -> tuple[Tensors, Mapping[str, str], Any]:
    """Named tensors, metadata, and for a PyTorch file the whole object."""
    if path.suffix.lower() == ".safetensors":
        header = read_header(path)
        return header.tensors, header.metadata, None
    contents = read_stubs(path)
    if not isinstance(contents, dict):
        raise BadFile(path, "holds no named tensors.")
    state = contents.get("state_dict", contents)
    tensors = {key: value for key, value in _items(state) if isinstance(key, str) and isinstance(value, TensorStub)}
    notes = {sendable(key): sendable(str(value)) for key, value in contents.items() if _is_note(key, value)}
    return tensors, notes, contents


def _is_note(key: Any, value: Any) -> bool:
    """Whether an entry of a PyTorch file is a remark, such as the step it was saved at."""
    return isinstance(key, str) and isinstance(value, (str, int, float))


def _items(value: Any) -> list[tuple[Any, Any]]:
    """The items of a dict, or of a ParameterDict as older versions of PyTorch stored it."""
    if isinstance(value, dict):
        return list(value.items())
    if isinstance(value, Opaque) and isinstance(value.state, dict):
        return _items(value.state.get("_parameters"))
    return []


def _common(metadata: Mapping[str, str]) -> dict[str, Any]:
    """The facts that any kind may have."""
    short = {key: value for key, value in metadata.items() if key not in COVERS and len(value) <= MAX_SHORT_VALUE}
    return {"metadata": short, "has_cover": any(metadata.get(key) for key in COVERS)}


def _checkpoint(path: Path, tensors: Tensors, metadata: Mapping[str, str], _: Any) -> Facts:
    if not any(name.startswith(f"{_UNET}input_blocks.") for name in tensors):
        if any(_LORA_KEY.search(name) for name in tensors):
            raise BadFile(path, "is a LoRA, not a checkpoint. Move it to models/Lora.")
        raise BadFile(path, "holds no Stable Diffusion 1, 2 or XL checkpoint in the original layout.")
    return Facts(
        family=_checkpoint_family(tensors),
        native_size=_size(metadata.get("modelspec.resolution", "")),
        cfg_scale=_number(metadata.get("tagbrush.cfg_scale", "")),
        width=_context_width(tensors, prefix=_UNET),
        **_common(metadata),
    )


def _checkpoint_family(tensors: Tensors) -> Family:
    """The family by the text encoders' places in the file, which hold for any width (D014)."""
    for prefix, family in (
        ("conditioner.embedders.", "sdxl"),
        ("cond_stage_model.model.", "sd2"),
        ("cond_stage_model.transformer.", "sd1"),
    ):
        if any(name.startswith(prefix) for name in tensors):
            return family
    return _FAMILY_OF_WIDTH.get(_context_width(tensors, prefix=_UNET) or 0, "")


def _context_width(tensors: Tensors, prefix: str = "") -> int | None:
    """The width of what cross-attention looks at."""
    for name, stub in tensors.items():
        if name.startswith(prefix) and _CONTEXT_KEY.search(name) and len(stub.shape) >= 2:
            return stub.shape[1]
    return None


def _lora(path: Path, tensors: Tensors, metadata: Mapping[str, str], _: Any) -> Facts:
    if not tensors:
        raise BadFile(path, "holds no tensors.")
    if any(name.startswith(_UNET) for name in tensors):
        raise BadFile(path, "is a checkpoint, not a LoRA. Move it to models/Stable-diffusion.")
    return Facts(family=_lora_family(tensors, metadata), width=_context_width(tensors), **_common(metadata))


def _lora_family(tensors: Tensors, metadata: Mapping[str, str]) -> Family:
    """The family as the trainer wrote it (D047), else by the parts and widths of the model it changes."""
    base = metadata.get("ss_base_model_version", "").lower()
    architecture = metadata.get("modelspec.architecture", "").lower()
    if base.startswith("sdxl") or architecture.startswith("stable-diffusion-xl"):
        return "sdxl"
    if metadata.get("ss_v2") == "True" or base.startswith("sd_v2") or architecture.startswith("stable-diffusion-v2"):
        return "sd2"
    if base.startswith("sd_v1") or architecture.startswith("stable-diffusion-v1"):
        return "sd1"
    if any(name.startswith(("lora_te2_", "text_encoder_2.")) for name in tensors):
        return "sdxl"
    return _FAMILY_OF_WIDTH.get(_context_width(tensors) or 0, "")


def _embedding(path: Path, tensors: Tensors, metadata: Mapping[str, str], contents: Any) -> Facts:
    parts = _embedding_parts(path, tensors, contents)
    shape = parts.get("clip_l", next(iter(parts.values()))).shape
    width = shape[-1] if shape else 0
    return Facts(
        family="sdxl" if "clip_g" in parts else _FAMILY_OF_WIDTH.get(width, ""),
        vectors=shape[0] if len(shape) == 2 else 1,
        width=width,
        **_common(metadata),
    )


def _embedding_parts(path: Path, tensors: Tensors, contents: Any) -> Tensors:
    """The vectors, by text encoder; one unnamed entry where there is one encoder (D031)."""
    named: dict[Any, Any] = dict(tensors)
    if isinstance(contents, dict) and "string_to_param" in contents:
        named = dict(_items(contents["string_to_param"]))
    vectors = {key: value for key, value in named.items() if isinstance(value, TensorStub)}
    if {"clip_l", "clip_g"} <= vectors.keys():
        return vectors
    if not vectors:
        raise BadFile(path, "holds no embedding.")
    if len(vectors) > 1:
        if any(name.startswith(_UNET) for name in tensors):
            raise BadFile(path, "is a checkpoint, not an embedding. Move it to models/Stable-diffusion.")
        if any(_LORA_KEY.search(name) for name in tensors):
            raise BadFile(path, "is a LoRA, not an embedding. Move it to models/Lora.")
        raise BadFile(path, f"holds {len(vectors)} terms; an embedding has one.")
    return vectors


def _hypernetwork(path: Path, tensors: Tensors, metadata: Mapping[str, str], contents: Any) -> Facts:
    widths = {key for key in contents or () if isinstance(key, int)}
    if not widths:
        raise BadFile(path, "holds no hypernetwork: none of its keys is a layer's width.")
    family: Family = "sd1" if 768 in widths else "sd2" if 1024 in widths else ""
    return Facts(family=family, **_common(metadata))


def _vae(path: Path, tensors: Tensors, metadata: Mapping[str, str], _: Any) -> Facts:
    if not any("decoder." in name for name in tensors):
        raise BadFile(path, "holds no VAE: there is no decoder in it.")
    return Facts(**_common(metadata))


_EXAMINERS = {
    "checkpoint": _checkpoint,
    "vae": _vae,
    "lora": _lora,
    "hypernetwork": _hypernetwork,
    "embedding": _embedding,
}


def _diffusers_folder(path: Path) -> Facts:
    """The facts of a folder in diffusers' layout, from its small configuration files."""
    unet = _json(path / "unet" / "config.json")
    width, size = unet.get("cross_attention_dim"), unet.get("sample_size")
    return Facts(
        family=_FAMILY_OF_WIDTH.get(width, "") if isinstance(width, int) else "",
        native_size=_within_limits([size * LATENT_PIXELS]) if isinstance(size, int) else None,
        width=width if isinstance(width, int) else None,
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadFile(path.parents[1], f"is a folder without a readable {path.parent.name}/{path.name}.") from error
    return value if isinstance(value, dict) else {}


def _size(text: str) -> tuple[int, int] | None:
    """Width and height of "128x128", "1024" or "512, 768"; None for what a tool wrote otherwise."""
    return _within_limits([int(number) for number in re.findall(r"\d{1,5}", text)])


def _within_limits(sides: Sequence[int]) -> tuple[int, int] | None:
    """Width and height of one or two sides in pixels; None where no picture can be of that size."""
    usable = 1 <= len(sides) <= 2 and all(LATENT_PIXELS <= side <= MAX_SIDE for side in sides)
    return (sides[0], sides[-1]) if usable else None


def _number(text: str) -> float | None:
    """A positive number, as a guidance scale is."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 < number <= MAX_CFG_SCALE else None
