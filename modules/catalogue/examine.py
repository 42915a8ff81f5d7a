"""What a file's contents tell: its family, sizes and metadata, or why it cannot be used."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from modules.params import BadFile

from .averages import averages_as_weights
from .entries import Facts, Kind
from .families import CLIP_G, CLIP_L, FAMILY_OF_WIDTH, UNET, Family, architecture, mistaken_for, usable_size
from .headers import is_safetensors, read_header
from .made_for import family_of_metadata, family_of_names, family_of_widths
from .model_folder import examine_folder
from .pickles import read_stubs
from .picture_embeddings import IMAGE_SUFFIXES, NoEmbedding, read_picture_embedding, tensor_shape
from .stubs import Opaque, TensorStub
from .texts import sendable

MAX_SHORT_VALUE = 500
"""Metadata values longer than this (tag statistics, data set lists) are read again when asked for."""

MAX_LISTED = 100
"""Numbers in a remark; longer lists are weights."""

COVERS = ("ssmd_cover_images", "modelspec.thumbnail")
"""Metadata that holds pictures rather than text."""

MAX_CFG_SCALE = 1000

Tensors = Mapping[str, TensorStub]

_CONTEXT_KEY = re.compile(
    r"attn2[._]to_k[._](?:lora_down[.]weight|lora_A[.](?:default[.])?weight|lora[.]down[.]weight|hada_w[12]_b|diff)$"
)
_WIDTH_KEY = re.compile(r"(\d{1,5})\.[01]\.")


def examine(kind: Kind, path: Path) -> Facts:
    """The facts of a file of the given kind; a file that cannot be used has them say why."""
    try:
        if path.is_dir():
            return examine_folder(path)
        if kind == "embedding" and path.suffix.lower() in IMAGE_SUFFIXES:
            return _picture_embedding(path)
        tensors, metadata, contents = _contents(path)
        return _EXAMINERS[kind](path, tensors, metadata, contents)
    except NoEmbedding as error:
        return Facts(is_none=True, is_fleeting=isinstance(error.__cause__, PermissionError))
    except BadFile as error:
        return Facts(error=error.reason, is_fleeting=isinstance(error.__cause__, OSError))


def full_metadata(path: Path) -> dict[str, str]:
    """Everything a .safetensors file says of itself, but for its pictures; nothing for other files."""
    if not is_safetensors(path):
        return {}
    return {key: value for key, value in read_header(path).metadata.items() if key not in COVERS}


def _contents(path: Path) -> tuple[Tensors, Mapping[str, str], Any]:
    """Named tensors, metadata, and for a PyTorch file the whole object."""
    if is_safetensors(path):
        header = read_header(path)
        return header.tensors, header.metadata, None
    contents = read_stubs(path)
    if not isinstance(contents, dict):
        raise BadFile(path, "holds no named tensors.")
    state = contents.get("state_dict", contents)
    tensors = {key: value for key, value in _items(state) if isinstance(key, str) and isinstance(value, TensorStub)}
    return tensors, _notes(contents), contents


def _notes(contents: Mapping[Any, Any]) -> dict[str, str]:
    """The remarks in a PyTorch file, such as the step it was saved at, or the structure of its layers."""
    notes: dict[str, str] = {}
    for key, value in contents.items():
        if not isinstance(key, str):
            continue
        if isinstance(value, str | int | float):
            notes[sendable(key)] = sendable(str(value))
        elif isinstance(value, list) and 0 < len(value) < MAX_LISTED and all(isinstance(n, int | float) for n in value):
            notes[sendable(key)] = ", ".join(map(str, value))
    return notes


def _items(value: Any) -> list[tuple[Any, Any]]:
    """The items of a dict, or of a ParameterDict as older versions of PyTorch stored it."""
    if isinstance(value, Opaque) and isinstance(value.state, dict):
        value = value.state.get("_parameters")
    return list(value.items()) if isinstance(value, dict) else []


def _common(metadata: Mapping[str, str]) -> dict[str, Any]:
    """The facts that any kind may have."""
    short = {key: value for key, value in metadata.items() if key not in COVERS and len(value) <= MAX_SHORT_VALUE}
    return {"metadata": short, "has_cover": any(metadata.get(key) for key in COVERS)}


def _checkpoint(path: Path, tensors: Tensors, metadata: Mapping[str, str], _: Any) -> Facts:
    found = architecture(path, averages_as_weights(tensors), metadata)
    return Facts(
        family=found.family,
        variant=found.variant,
        prediction=found.prediction,
        is_ztsnr=found.is_ztsnr,
        missing=found.missing,
        native_size=_size(metadata.get("modelspec.resolution", "")) or found.native_size,
        cfg_scale=_number(metadata.get("tagbrush.cfg_scale", "")),
        width=found.width,
        **_common(metadata),
    )


def _lora(path: Path, tensors: Tensors, metadata: Mapping[str, str], _: Any) -> Facts:
    if not tensors:
        raise BadFile(path, "holds no tensors.")
    if any(name.startswith(UNET) for name in tensors):
        raise BadFile(path, mistaken_for("a LoRA", tensors))
    return Facts(family=_lora_family(tensors, metadata), width=_context_width(tensors), **_common(metadata))


def _context_width(tensors: Tensors) -> int | None:
    """The width of the text that the changed layers look at; None where no layer tells."""
    for name, stub in tensors.items():
        if _CONTEXT_KEY.search(name) and len(stub.shape) >= 2:
            return stub.shape[1]
    return None


def _lora_family(tensors: Tensors, metadata: Mapping[str, str]) -> Family:
    """The family as the trainer wrote it (D047), else by the parts and widths of the model it changes."""
    by_width = FAMILY_OF_WIDTH.get(_context_width(tensors) or 0, "")
    return family_of_metadata(metadata) or family_of_names(tensors) or by_width


def _embedding(path: Path, tensors: Tensors, metadata: Mapping[str, str], contents: Any) -> Facts:
    parts = _embedding_parts(path, tensors, contents)
    shapes = [stub.shape or (0,) for stub in parts.values()]
    width = sum(shape[-1] for shape in shapes)
    return Facts(
        family="sdxl" if CLIP_G in parts else FAMILY_OF_WIDTH.get(width, ""),
        vectors=shapes[0][0] if len(shapes[0]) == 2 else 1,
        width=width,
        **_common(metadata),
    )


def _picture_embedding(path: Path) -> Facts:
    """The facts of an embedding in a picture, which is called by the name inside (D031)."""
    content = read_picture_embedding(path)
    params = content.get("string_to_param")
    named = params if isinstance(params, dict) else content
    shapes = {key: shape for key, value in named.items() if (shape := tensor_shape(value))}
    tensors = {key: TensorStub("F32", shape) for key, shape in shapes.items()}
    notes = _notes(content)
    return replace(_embedding(path, tensors, notes, None), inner_name=notes.get("name", "").strip())


def _embedding_parts(path: Path, tensors: Tensors, contents: Any) -> Tensors:
    """The vectors, by text encoder; one unnamed entry where there is one encoder (D031)."""
    named: dict[Any, Any] = dict(tensors)
    if isinstance(contents, dict) and "string_to_param" in contents:
        named = dict(_items(contents["string_to_param"]))
    vectors = {key: value for key, value in named.items() if isinstance(value, TensorStub)}
    if {CLIP_L, CLIP_G} <= vectors.keys():
        return {name: vectors[name] for name in (CLIP_L, CLIP_G)}
    if not vectors:
        raise BadFile(path, "holds no embedding.")
    if len(vectors) > 1:
        reason = mistaken_for("an embedding", tensors)
        raise BadFile(path, reason or f"holds {len(vectors)} terms; an embedding has one.")
    return vectors


def _hypernetwork(path: Path, tensors: Tensors, metadata: Mapping[str, str], contents: Any) -> Facts:
    widths = {key for key in contents or () if isinstance(key, int)}
    widths |= {int(found[1]) for name in tensors if (found := _WIDTH_KEY.match(name))}
    if not widths:
        raise BadFile(path, "holds no hypernetwork: none of its keys is a layer's width.")
    return Facts(family=family_of_widths(widths), **_common(metadata))


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


def _size(text: str) -> tuple[int, int] | None:
    """Width and height of "128x128", "1024" or "512, 768"; None for what a tool wrote otherwise."""
    return usable_size([int(number) for number in re.findall(r"\d{1,5}", text)])


def _number(text: str) -> float | None:
    """A positive number, as a guidance scale is."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 < number <= MAX_CFG_SCALE else None
