"""Networks in use: loaded, applied to the model, and left out one by one where they do not fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import torch

from modules.catalogue import Entry
from modules.conditioning import Vectors
from modules.models import Live, Model, Pass, Patch, PatchError, patched
from modules.networks import Embedding, Lora, NetworkCache, describe, describe_partial
from modules.params import TagbrushError

from .named import Tell
from .plans import NetworkUse


@dataclass(frozen=True, eq=False)
class Applied:
    """A network that acts on the model, and the words that it brings along."""

    use: NetworkUse
    patches: tuple[Patch, ...]
    words: tuple[Embedding, ...] = ()


def load_networks(uses: Iterable[NetworkUse], model: Model, cache: NetworkCache, tell: Tell) -> list[Applied]:
    """The networks that can be read and fit the model; each other one is told."""
    applied = []
    for use in uses:
        try:
            applied.append(_load(use, model, cache, tell))
        except TagbrushError as error:
            tell(describe(use.kind, use.name, error))
    return applied


def _load(use: NetworkUse, model: Model, cache: NetworkCache, tell: Tell) -> Applied:
    if use.kind == "hypernet":
        return Applied(use, cache.hypernetwork(use.entry.path).patches(model, use.unet, use.on))
    lora: Lora = cache.lora(use.entry.path)
    patches, unmatched = lora.patches(model, use.te, use.unet, use.dyn, use.on)
    if partial := describe_partial(use.kind, use.name, unmatched, len(lora.layers)):
        tell(partial)
    return Applied(use, patches, lora.embeddings)


def apply_networks(stack: ExitStack, model: Model, applied: list[Applied], tell: Tell) -> Live:
    """The model with the networks in it until `stack` ends; one whose change has another shape leaves `applied`."""
    while True:
        patches = [patch for network in applied for patch in network.patches]
        try:
            return stack.enter_context(patched(model, patches))
        except PatchError as error:
            culprit = next(network for network in applied if error.key in {patch.key for patch in network.patches})
            tell(describe(culprit.use.kind, culprit.use.name, error))
            applied.remove(culprit)


@dataclass(frozen=True, eq=False)
class Words:
    """Embeddings by name, as each pass reads them, and the files that they are from."""

    prompt: Mapping[str, Vectors]
    negative: Mapping[str, Vectors]
    entries: tuple[Entry, ...]


def load_words(
    entries: Iterable[Entry], applied: Iterable[Applied], model: Model, cache: NetworkCache, tell: Tell
) -> Words:
    """The embeddings in the files, and those that the LoRAs bring along; each that does not fit is told.

    A file goes before a LoRA's word of its name (D045); a LoRA of the negative prompt has its words there alone.
    """
    everywhere: dict[str, Vectors] = {}
    negative: dict[str, Vectors] = {}
    for network in applied:
        for word in network.words:
            if vectors := _fitted(word.name, word, model, tell):
                (negative if network.use.on is Pass.UNCOND else everywhere)[word.name] = vectors
    files: dict[str, Vectors] = {}
    loaded = []
    for entry in entries:
        if vectors := _read(entry, model, cache, tell):
            files[entry.name] = vectors
            loaded.append(entry)
    return Words(everywhere | files, negative | everywhere | files, tuple(loaded))


def _read(entry: Entry, model: Model, cache: NetworkCache, tell: Tell) -> Vectors | None:
    try:
        embedding = cache.embedding(entry.path)
    except TagbrushError as error:
        tell(describe("embedding", entry.name, error))
        return None
    return _fitted(entry.name, embedding, model, tell)


def _fitted(name: str, embedding: Embedding, model: Model, tell: Tell) -> Mapping[str, torch.Tensor] | None:
    try:
        return embedding.fitted(model)
    except TagbrushError as error:
        tell(describe("embedding", name, error))
        return None
