"""Temporary changes of a model that leave no trace.

A network (LoRA, hypernetwork, ...) is turned into patches; `patched` applies them for as long as its `with` lasts.
Originals are kept and copied back, since taking a difference away again changes 6 % of float32 and 14 % of
half-precision weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from modules.models.attention import ContextChange, ContextChanges, PatchableAttention
from modules.models.merges import Chains, Slot, bare
from modules.models.model import Model
from modules.models.patches import ContextPatch, Pass, Patch, PatchError, WeightPatch

PARTS = ("unet", "text_encoder", "text_encoder_2", "vae")


@dataclass(frozen=True)
class Live:
    """A model with its patches applied."""

    splits_guidance: bool
    """True where the UNet differs between the passes, so that they cannot share one call."""
    _attention: PatchableAttention
    _uncond_weights: tuple[tuple[nn.Parameter, torch.Tensor], ...]
    _uncond_changes: ContextChanges

    @contextmanager
    def on(self, which: Pass) -> Iterator[None]:
        """Inside, the model is as `which` pass needs it. Swaps pointers, copies nothing."""
        if which is Pass.BOTH:
            yield
            return
        with ExitStack() as stack:
            for parameter, merged in self._uncond_weights:
                stack.enter_context(_pointing_at(parameter, merged))
            stack.enter_context(_changed_context(self._attention, self._uncond_changes))
            yield


@contextmanager
def patched(model: Model, patches: Iterable[Patch]) -> Iterator[Live]:
    """The model with `patches` applied in their order; a weight read afterwards is bit for bit as before.

    Sums are in float32 and rounded once, and the result takes the place of the original in the same storage, so that
    whatever holds a pointer to a weight stays valid. Originals come back when the `with` fails, when another set of
    patches does without them, and when a network of the model is read outside `patched`: the same patches again cost
    nothing. All patches go in one call: a second `patched` inside is refused.
    Raises PatchError where a target does not exist or a difference has another shape; nothing is then merged.
    """
    patches = tuple(patches)
    weights = [patch for patch in patches if isinstance(patch, WeightPatch)]
    contexts = [patch for patch in patches if isinstance(patch, ContextPatch)]
    on_both = _by_target(patch for patch in weights if patch.on is Pass.BOTH)
    apart = {patch.target for patch in weights if patch.on is Pass.UNCOND}
    on_uncond = {target: chain for target, chain in _by_target(weights).items() if target in apart}
    merges = model.merges
    with merges.in_use():
        if not merges.holds(on_both, on_uncond):
            merges.become(_slots(model, on_uncond | on_both), on_both, on_uncond)
        both_changes = _changes(patch for patch in contexts if patch.on is Pass.BOTH)
        with _changed_context(model.attention, both_changes):
            yield Live(
                splits_guidance=any(target.startswith("unet.") for target in apart)
                or any(patch.on is Pass.UNCOND for patch in contexts),
                _attention=model.attention,
                _uncond_weights=merges.apart(),
                _uncond_changes=_changes(contexts),
            )


def _by_target(patches: Iterable[WeightPatch]) -> dict[str, list[WeightPatch]]:
    chains: dict[str, list[WeightPatch]] = {}
    for patch in patches:
        chains.setdefault(patch.target, []).append(patch)
    return chains


def _slots(model: Model, chains: Chains) -> Mapping[str, Slot]:
    return {target: _slot(model, chain[0]) for target, chain in chains.items()}


def _slot(model: Model, patch: WeightPatch) -> Slot:
    """Where the weight lies that a patch names; a layer that could have a bias has a place for it."""
    part, _, name = patch.target.partition(".")
    path, _, attribute = name.rpartition(".")
    module = _submodule(bare(model, part) if part in PARTS else None, path)
    if module is not None:
        is_missing_bias = attribute == "bias" and module._parameters.get("bias", module) is None
        if isinstance(getattr(module, attribute, None), nn.Parameter) or (
            is_missing_bias and hasattr(module, "weight")
        ):
            return Slot(module, attribute)
    raise PatchError(
        f"The model has no weight {patch.target}. The network was made for another kind of model.", key=patch.key
    )


def _submodule(module: nn.Module | None, path: str) -> nn.Module | None:
    try:
        return module.get_submodule(path) if module is not None else None
    except AttributeError:
        return None


@contextmanager
def _pointing_at(parameter: nn.Parameter, merged: torch.Tensor) -> Iterator[None]:
    data = parameter.data
    try:
        parameter.data = merged
        yield
    finally:
        parameter.data = data


def _changes(patches: Iterable[ContextPatch]) -> ContextChanges:
    changes: dict[int, tuple[tuple[ContextChange, ContextChange], ...]] = {}
    for patch in patches:
        changes[patch.width] = (*changes.get(patch.width, ()), (patch.keys, patch.values))
    return changes


@contextmanager
def _changed_context(attention: PatchableAttention, changes: ContextChanges) -> Iterator[None]:
    before = attention.changes
    try:
        attention.changes = changes
        yield
    finally:
        attention.changes = before
