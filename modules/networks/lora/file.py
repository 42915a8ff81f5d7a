"""LoRA files of every trainer: from tensors by name to patches of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch

from modules.catalogue import FAMILY_OF_WIDTH, family_of_metadata, family_of_names, is_tried_on, mistaken_for
from modules.models import Model, Pass, WeightPatch, read_weights
from modules.networks.embedding import Embedding, bundled_embeddings
from modules.networks.errors import NetworkMisfit
from modules.networks.lora.changes import Misshapen, Parts
from modules.networks.lora.fitting import Fitting, fit
from modules.networks.lora.layer import Layer
from modules.networks.lora.names import TEXT_ENCODER, TEXT_ENCODER_2, UNET, split_key
from modules.networks.lora.peft import with_alpha
from modules.networks.tensors import Identity, identity, owned
from modules.params import BadFile

BUNDLE = "bundle_emb."
Tensors = dict[str, torch.Tensor]


class LoraPatches(NamedTuple):
    """What a LoRA does to one model."""

    patches: tuple[WeightPatch, ...]
    unmatched: tuple[str, ...]
    """The layers that the model lacks or has in another size, as the file names them."""


@dataclass(frozen=True, eq=False)
class Lora:
    """A parsed file: the change of each layer that it names."""

    path: Path
    identity: Identity
    layers: Mapping[str, Layer]
    """By the name that the file has for the layer."""
    metadata: Mapping[str, str]
    embeddings: tuple[Embedding, ...]
    """Words that are usable while the LoRA is."""
    family: str
    """What its layers were made for, where they tell; else ""."""
    nbytes: int
    _fittings: WeakKeyDictionary[Model, Fitting] = field(default_factory=WeakKeyDictionary)
    """What was found out about the models that it was used on."""

    @property
    def name(self) -> str:
        return self.path.stem

    def patches(
        self, model: Model, te: float = 1.0, unet: float | None = None, dyn: int | None = None, on: Pass = Pass.BOTH
    ) -> LoraPatches:
        """The patches of the text encoder at strength `te` and of the UNet at `unet` (None: as `te`).

        `dyn` keeps only the first ranks of plain LoRA layers. What does not fit is left out and named; where nothing
        fits, or the layers are those of another family, raises NetworkMisfit.
        """
        if not is_tried_on(self.family, model.family):
            raise NetworkMisfit(self.name, made_for=self.family, model=model.family)
        if model not in self._fittings:
            self._fittings[model] = fit(model, self.layers)
        fitting = self._fittings[model]
        if not fitting.seats:
            raise self._misfit(model)
        strengths = {UNET: te if unet is None else unet, TEXT_ENCODER: te, TEXT_ENCODER_2: te}
        patches = fitting.patches(self.identity, strengths, dyn, on)
        return LoraPatches(patches, tuple(name for name in self.layers if name not in fitting.seats))

    def _misfit(self, model: Model) -> NetworkMisfit:
        made_for = self.family or family_of_metadata(self.metadata)
        because = f"none of its {len(self.layers)} layers fits"
        return NetworkMisfit(self.name, made_for=made_for, model=model.family, because=because)


def load_lora(path: Path) -> Lora:
    """The LoRA in a `.safetensors`, `.pt` or `.ckpt` file, of any kind in `lora.layer.KINDS`. Raises BadFile."""
    file = identity(path)
    weights = read_weights(path)
    groups, bundle = _sorted_keys(weights.tensors)
    if not groups:
        reason = mistaken_for("a LoRA", weights.tensors)
        raise BadFile(path, reason or "holds no LoRA that is known here. Check what kind of file it is.")
    tensors = {
        name: {part: owned(path, f"{name} {part}", tensor) for part, tensor in parts.items()}
        for name, parts in groups.items()
    }
    layers = {name: _layer(path, name, with_alpha(name, parts, weights.metadata)) for name, parts in tensors.items()}
    return Lora(
        path=path,
        identity=file,
        layers=layers,
        metadata=weights.metadata,
        embeddings=bundled_embeddings(path, bundle),
        family=_family(tensors),
        nbytes=sum(tensor.nbytes for parts in tensors.values() for tensor in parts.values()),
    )


def _sorted_keys(tensors: Mapping[str, torch.Tensor]) -> tuple[dict[str, Tensors], Tensors]:
    """(parts of each layer by the layer's name, tensors of bundled embeddings by the rest of their key)."""
    groups: dict[str, Tensors] = {}
    bundle: Tensors = {}
    for key, tensor in tensors.items():
        if key.startswith(BUNDLE):
            bundle[key.removeprefix(BUNDLE)] = tensor
        elif (split := split_key(key)) is not None:
            groups.setdefault(split[0], {})[split[1]] = tensor
    plain = {"weight", "bias", "scale"}  # what any layer of any model has
    return {name: parts for name, parts in groups.items() if not parts.keys() <= plain}, bundle


def _layer(path: Path, name: str, parts: Parts) -> Layer:
    try:
        return Layer.from_parts(parts)
    except Misshapen as error:
        raise BadFile(path, f"is no LoRA that can be read: {name} has {error}. Download it again.") from error


def _family(tensors: Mapping[str, Parts]) -> str:
    """The family that the layers themselves show, by their names or by the width of the text they read."""
    widths = {
        parts[part].shape[1]
        for name, parts in tensors.items()
        for part in ("down", "hada_w1_b", "diff")
        if name.endswith(("attn2_to_k", "attn2.to_k")) and part in parts and parts[part].dim() > 1
    }
    by_width = FAMILY_OF_WIDTH.get(widths.pop(), "") if len(widths) == 1 else ""
    return family_of_names(tensors) or by_width
