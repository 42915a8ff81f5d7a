"""Textual inversion embeddings: a word that stands for vectors (Gal et al. 2022, arXiv:2208.01618)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from modules.catalogue import CLIP_G, CLIP_L, FAMILY_OF_WIDTH, IMAGE_SUFFIXES, is_safetensors
from modules.models import Model, bare, read_pickled, read_weights
from modules.networks.errors import NetworkMisfit
from modules.networks.image_embedding import read_image
from modules.networks.tensors import Identity, identity, owned
from modules.params import BadFile
from modules.prompt import MAX_VECTORS

WIDTHS_OF_CLIP_G: Mapping[int, str] = {1280: "sdxl"}


@dataclass(frozen=True, eq=False)
class Embedding:
    """A word of the prompt and the vectors that take its place."""

    name: str
    """What is written in the prompt: the file's stem, or the name inside an image."""
    vectors: Mapping[str, torch.Tensor]
    """By text encoder, `clip_l` and for SDXL `clip_g` too: (n, width) in the file's number type."""
    path: Path
    identity: Identity

    @property
    def count(self) -> int:
        """How many tokens of the prompt it takes."""
        return next(iter(self.vectors.values())).shape[0]

    @property
    def nbytes(self) -> int:
        return sum(vectors.nbytes for vectors in self.vectors.values())

    def fitted(self, model: Model) -> Mapping[str, torch.Tensor]:
        """The vectors, float32, by text encoder. Raises NetworkMisfit unless they are of the model's widths (P095)."""
        own = {encoder: vectors.shape[1] for encoder, vectors in self.vectors.items()}
        widths = _widths(model)
        if model.family == "sdxl_refiner" and own.get(CLIP_G) == widths.get(CLIP_G):
            return {CLIP_G: self.vectors[CLIP_G].float()}  # it reads with the second of SDXL's encoders alone
        if own != widths:
            because = f"its vectors have {_shown(own)} numbers each, the model's have {_shown(widths)}"
            raise NetworkMisfit(self.name, made_for=_family(own), model=model.family, because=because)
        return {encoder: vectors.float() for encoder, vectors in self.vectors.items()}


def load_embedding(path: Path) -> Embedding:
    """The embedding in an A1111 `.pt`, a `.safetensors`, a diffusers `.bin` or an image that carries one.

    Raises BadFile where the file is broken, holds several words, or more vectors than a prompt can take.
    """
    file = identity(path)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        name, content = read_image(path)
    else:
        name, content = path.stem, _read(path)
    return Embedding(name or path.stem, _vectors(path, content), path, file)


def bundled_embeddings(path: Path, tensors: Mapping[str, torch.Tensor]) -> tuple[Embedding, ...]:
    """The embeddings inside a LoRA file, from tensors named `<word>.<what it is>`. Raises BadFile."""
    words: dict[str, dict[str, Any]] = {}
    for key, tensor in tensors.items():
        word, _, part = key.partition(".")
        if part.startswith("string_to_param."):
            words.setdefault(word, {}).setdefault("string_to_param", {})[part.partition(".")[2]] = tensor
        else:
            words.setdefault(word, {})[part] = tensor
    file = identity(path) if words else ("", 0, 0)
    return tuple(Embedding(word, _vectors(path, content), path, file) for word, content in words.items())


def _read(path: Path) -> Any:
    if is_safetensors(path):
        return dict(read_weights(path).tensors)
    return read_pickled(path)


def _vectors(path: Path, content: Any) -> dict[str, torch.Tensor]:
    if not isinstance(content, Mapping):
        raise BadFile(path, f"holds a {type(content).__name__}, no embedding. Check what kind of file it is.")
    if "string_to_param" in content:
        return {CLIP_L: _one(path, _mapping(path, content["string_to_param"]))}
    if CLIP_L in content and CLIP_G in content:
        parts = {name: _rows(path, name, content[name]) for name in (CLIP_L, CLIP_G)}
        if parts[CLIP_L].shape[0] != parts[CLIP_G].shape[0]:
            raise BadFile(path, "has another number of vectors for each text encoder. Download it again.")
        return parts
    return {CLIP_L: _one(path, content)}


def _mapping(path: Path, params: Any) -> Mapping[Any, Any]:
    """The entries of a dictionary, or of the ParameterDict of an old PyTorch."""
    params = getattr(params, "_parameters", params)
    if not isinstance(params, Mapping):
        raise BadFile(path, "has no vectors where an embedding's are. Download it again.")
    return params


def _one(path: Path, content: Mapping[Any, Any]) -> torch.Tensor:
    tensors = {str(name): value for name, value in content.items() if isinstance(value, torch.Tensor)}
    if len(tensors) != 1 or len(tensors) != len(content):
        shown = ", ".join(sorted(map(str, content))[:4]) or "nothing"
        raise BadFile(path, f"is no embedding of one word: it holds {shown}. Check what kind of file it is.")
    ((name, tensor),) = tensors.items()
    return _rows(path, name, tensor)


def _rows(path: Path, name: str, value: Any) -> torch.Tensor:
    """(n, width)"""
    if not isinstance(value, torch.Tensor) or value.dim() not in (1, 2) or not value.is_floating_point():
        raise BadFile(path, f"has no rows of vectors in {name}. Check what kind of file it is.")
    rows = value.unsqueeze(0) if value.dim() == 1 else value
    if not 1 <= rows.shape[0] <= MAX_VECTORS or rows.shape[1] == 0:
        raise BadFile(
            path, f"has {rows.shape[0]} vectors; a prompt takes 1 to {MAX_VECTORS}. Train it again with fewer vectors."
        )
    return owned(path, name, rows)


def _widths(model: Model) -> dict[str, int]:
    encoders = {CLIP_L: bare(model, "text_encoder"), CLIP_G: bare(model, "text_encoder_2")}
    return {name: int(encoder.config.hidden_size) for name, encoder in encoders.items() if encoder is not None}


def _family(widths: Mapping[str, int]) -> str:
    """The family that the widths show, or ""."""
    return WIDTHS_OF_CLIP_G.get(widths.get(CLIP_G, 0)) or FAMILY_OF_WIDTH.get(widths.get(CLIP_L, 0), "")


def _shown(widths: Mapping[str, int]) -> str:
    return " + ".join(str(width) for width in widths.values())
