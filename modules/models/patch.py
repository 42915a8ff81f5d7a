"""Temporary changes of a model that leave no trace.

A network (LoRA, hypernetwork, ...) is turned into patches; `patched` applies them for as long as its `with` lasts.
The original tensors are kept and copied back, since taking a difference away again changes 6 % of float32 and 14 % of
half-precision weights.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum

import torch
from torch import nn

from modules.models.attention import ContextChange, ContextChanges, PatchableAttention
from modules.models.merges import MergeCache
from modules.models.model import Model
from modules.params import TagbrushError


class Pass(Enum):
    """Where a patch acts: everywhere, or in the unconditional pass alone (a network of the negative prompt)."""

    BOTH = "both"
    UNCOND = "uncond"


class PatchError(TagbrushError):
    """A patch that does not fit the model; `key` is the patch's, so that its network can be left out."""

    def __init__(self, message: str, *, key: Hashable) -> None:
        super().__init__(message)
        self.key = key


@dataclass(frozen=True)
class WeightPatch:
    """A difference to add to one weight.

    `delta` gets the weight in float32 as the patches before this one left it, and returns a float32 difference of the
    same shape. `key` stands for everything the difference depends on (file and multipliers): equal keys, equal
    differences.
    """

    target: str
    """The weight's name from the Model on, such as `unet.conv_in.weight` or `text_encoder.final_layer_norm.bias`."""
    delta: Callable[[torch.Tensor], torch.Tensor]
    key: Hashable
    on: Pass = Pass.BOTH


@dataclass(frozen=True)
class ContextPatch:
    """A change of the context that the UNet's attentions of one context width read their keys and values from.

    Both functions map a float32 (B, M, width) context to one of the same shape, the context itself included.
    """

    width: int
    keys: ContextChange
    values: ContextChange
    key: Hashable
    on: Pass = Pass.BOTH


Patch = WeightPatch | ContextPatch
PARTS = ("unet", "text_encoder", "vae")


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
    """The model with `patches` applied in their order; afterwards every weight is bit for bit what it was.

    Sums are in float32 and rounded once, and the result takes the place of the original in the same storage, so that
    whatever holds a pointer to a weight stays valid. All patches go in one call: a second `patched` inside is refused.
    Raises PatchError, with the model untouched, where a target does not exist or a difference has another shape.
    """
    patches = tuple(patches)
    weights = [patch for patch in patches if isinstance(patch, WeightPatch)]
    contexts = [patch for patch in patches if isinstance(patch, ContextPatch)]
    on_both = _by_target(patch for patch in weights if patch.on is Pass.BOTH)
    apart = {patch.target for patch in weights if patch.on is Pass.UNCOND}
    on_uncond = {target: chain for target, chain in _by_target(weights).items() if target in apart}
    with ExitStack() as stack:
        stack.enter_context(model.merges.in_use())
        parameters = {
            target: stack.enter_context(_parameter(model, chain[0])) for target, chain in (on_uncond | on_both).items()
        }
        uncond = _merged(model.merges, on_uncond, parameters)
        for target, merged in _merged(model.merges, on_both, parameters).items():
            stack.enter_context(_holding(parameters[target], merged))
        both_changes = _changes(patch for patch in contexts if patch.on is Pass.BOTH)
        stack.enter_context(_changed_context(model.attention, both_changes))
        yield Live(
            splits_guidance=any(target.startswith("unet.") for target in apart)
            or any(patch.on is Pass.UNCOND for patch in contexts),
            _attention=model.attention,
            _uncond_weights=tuple((parameters[target], merged) for target, merged in uncond.items()),
            _uncond_changes=_changes(contexts),
        )


def _by_target(patches: Iterable[WeightPatch]) -> dict[str, list[WeightPatch]]:
    chains: dict[str, list[WeightPatch]] = {}
    for patch in patches:
        chains.setdefault(patch.target, []).append(patch)
    return chains


def _merged(
    cache: MergeCache, chains: Mapping[str, Sequence[WeightPatch]], parameters: Mapping[str, nn.Parameter]
) -> Mapping[str, torch.Tensor]:
    key = tuple((target, tuple(patch.key for patch in chain)) for target, chain in chains.items())
    kept = cache.get(key)
    if kept is not None:
        return kept
    merged = {target: _sum(parameters[target], chain) for target, chain in chains.items()}
    cache.put(key, merged)
    return merged


def _sum(parameter: nn.Parameter, chain: Sequence[WeightPatch]) -> torch.Tensor:
    with _ordinary_tensors():
        total = parameter.detach().to(torch.float32, copy=True)
        for patch in chain:
            delta = patch.delta(total)
            if delta.shape != total.shape:
                raise PatchError(
                    f"A network's difference for {patch.target} has the shape {tuple(delta.shape)}, "
                    f"the weight has {tuple(total.shape)}. The network was made for another model.",
                    key=patch.key,
                )
            total += delta
        return total.to(parameter.dtype)


@contextmanager
def _parameter(model: Model, patch: WeightPatch) -> Iterator[nn.Parameter]:
    """The parameter that a patch names; a bias that the layer lacks exists, of zeros, for as long as the `with`."""
    part, _, name = patch.target.partition(".")
    path, _, attribute = name.rpartition(".")
    module = _submodule(getattr(model, part, None) if part in PARTS else None, path)
    parameter = getattr(module, attribute, None)
    if isinstance(parameter, nn.Parameter):
        yield parameter
        return
    weight = getattr(module, "weight", None)
    if attribute != "bias" or "bias" not in getattr(module, "_parameters", {}) or weight is None:
        raise PatchError(
            f"The model has no weight {patch.target}. The network was made for another kind of model.", key=patch.key
        )
    with _ordinary_tensors():
        module.bias = nn.Parameter(weight.new_zeros(weight.shape[0]), requires_grad=False)
    try:
        yield module.bias
    finally:
        module.bias = None


def _submodule(module: nn.Module | None, path: str) -> nn.Module | None:
    try:
        return module.get_submodule(path) if module is not None else None
    except AttributeError:
        return None


@contextmanager
def _holding(parameter: nn.Parameter, merged: torch.Tensor) -> Iterator[None]:
    """The parameter's storage filled with `merged`, and with its own values again afterwards."""
    with _ordinary_tensors():
        original = parameter.detach().clone()
    try:
        with _ordinary_tensors():
            parameter.copy_(merged)
        yield
    finally:
        with _ordinary_tensors():
            parameter.copy_(original)


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


@contextmanager
def _ordinary_tensors() -> Iterator[None]:
    """Neither gradients nor inference tensors, whatever mode the caller is in: a weight outlives that mode."""
    with torch.inference_mode(False), torch.no_grad():
        yield
