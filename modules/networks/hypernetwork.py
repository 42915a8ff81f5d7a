"""Hypernetworks in the A1111 layout: small networks that bend the text before attention reads it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from modules.catalogue import family_of_widths, is_safetensors
from modules.models import ContextPatch, Model, Pass, Weights, bare, read_pickled, read_weights
from modules.networks.errors import NetworkMisfit
from modules.networks.tensors import Identity, identity, owned
from modules.params import BadFile

Activation = Callable[[torch.Tensor], torch.Tensor]
MAX_LAYERS = 64
OLD_NAMES: Mapping[str, str] = MappingProxyType({"linear1": "linear.0", "linear2": "linear.1"})
KEY = re.compile(r"linear\.(\d{1,4})\.(weight|bias)")
FOLDED = re.compile(r"(\d{1,5})\.([01])\.(.+)")

ACTIVATIONS: Mapping[str, type[nn.Module]] = MappingProxyType(
    {
        name.lower(): getattr(nn, name)
        for name in (
            *("CELU", "ELU", "GELU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU", "LogSigmoid"),
            *("Mish", "ReLU", "ReLU6", "RReLU", "SELU", "SiLU", "Sigmoid", "Softplus", "Softshrink", "Softsign"),
            *("Tanh", "Tanhshrink"),
        )
    }
    | {"swish": nn.Hardswish}
)
"""By the names in the files; "swish" has always been Hardswish."""


@dataclass(frozen=True, eq=False)
class Step:
    """One layer of a module: a matrix or a normalisation, and the activation after it."""

    weight: torch.Tensor
    """(out, in) of a matrix, (width,) of a normalisation."""
    bias: torch.Tensor
    activation: Activation | None = None

    def __call__(self, context: torch.Tensor) -> torch.Tensor:
        if self.weight.dim() == 1:
            return functional.layer_norm(context, self.weight.shape, self.weight, self.bias)
        bent = functional.linear(context, self.weight, self.bias)
        return bent if self.activation is None else self.activation(bent)

    def on(self, device: torch.device) -> Step:
        """The same step in float32 on the device."""
        weight, bias = (tensor.to(device, torch.float32) for tensor in (self.weight, self.bias))
        return Step(weight, bias, self.activation)


@dataclass(frozen=True, eq=False)
class Bend:
    """One module of a hypernetwork: context + strength · steps(context)."""

    steps: tuple[Step, ...]

    def __call__(self, context: torch.Tensor, strength: float) -> torch.Tensor:
        """(B, M, width) float32 -> the same shape."""
        bent = context
        for step in self.steps:
            bent = step(bent)
        return context + bent * strength

    def on(self, device: torch.device) -> Bend:
        """The same module in float32 on the device."""
        return Bend(tuple(step.on(device) for step in self.steps))


@dataclass(frozen=True, eq=False)
class Hypernetwork:
    """A parsed file: two modules, for keys and for values, per width of context."""

    path: Path
    identity: Identity
    bends: Mapping[int, tuple[Bend, Bend]]
    nbytes: int

    @property
    def name(self) -> str:
        return self.path.stem

    def patches(self, model: Model, multiplier: float = 1.0, on: Pass = Pass.BOTH) -> tuple[ContextPatch, ...]:
        """Patches of every attention whose context has one of the widths, self-attention among them.

        None at strength 0. Raises NetworkMisfit where the model has no such width, or not that of its text.
        """
        unet = bare(model, "unet")
        text, made_for = int(unet.config.cross_attention_dim), self._family()
        foreign = made_for not in ("", model.family)
        if foreign or not self.bends.keys() & {text, *unet.config.block_out_channels}:
            because = f"it changes widths of {', '.join(map(str, sorted(self.bends)))}, the model's text has {text}"
            raise NetworkMisfit(self.name, made_for=made_for, model=model.family, because=because)
        if multiplier == 0:
            return ()
        return tuple(
            ContextPatch(
                width=width,
                keys=partial(keys.on(model.device), strength=multiplier),
                values=partial(values.on(model.device), strength=multiplier),
                key=(self.identity, width, multiplier),
                on=on,
            )
            for width, (keys, values) in self.bends.items()
        )

    def _family(self) -> str:
        """The family whose texts it changes, or "" where its widths do not tell."""
        return family_of_widths(self.bends)


def load_hypernetwork(path: Path) -> Hypernetwork:
    """The hypernetwork in a `.pt` or `.safetensors` file of A1111's layout, whatever its structure. Raises BadFile."""
    file = identity(path)
    content = _unfolded(read_weights(path)) if is_safetensors(path) else read_pickled(path)
    widths = [key for key in content if type(key) is int] if isinstance(content, Mapping) else []
    if not widths:
        raise BadFile(path, "is no hypernetwork: it has no modules by width. Check what kind of file it is.")
    activation = _activation(path, content)
    activate_output = content.get("activate_output", True)
    if isinstance(activate_output, torch.Tensor):
        raise BadFile(path, "has weights where it says whether its output is activated. Download it again.")
    bends = {width: _pair(path, width, content[width], activation, bool(activate_output)) for width in widths}
    steps = [step for pair in bends.values() for bend in pair for step in bend.steps]
    return Hypernetwork(
        path=path,
        identity=file,
        bends=MappingProxyType(bends),
        nbytes=sum(step.weight.nbytes + step.bias.nbytes for step in steps),
    )


def _unfolded(weights: Weights) -> dict[Any, Any]:
    """What a `.pt` file would hold, from tensors named `<width>.<0 for keys, 1 for values>.<layer>` and metadata."""
    pairs: dict[Any, Any] = {}
    for key, tensor in weights.tensors.items():
        match = FOLDED.fullmatch(key)
        if match is None:
            raise BadFile(
                weights.path, f"has the layer {key!r}, which no hypernetwork has. Check what kind of file it is."
            )
        pairs.setdefault(int(match[1]), ({}, {}))[int(match[2])][match[3]] = tensor
    notes: dict[Any, Any] = dict(weights.metadata)
    if "activate_output" in notes:
        notes["activate_output"] = notes["activate_output"].strip().lower() not in ("false", "0", "none", "")
    if notes.get("activation_func", "").strip() in ("None", ""):
        notes.pop("activation_func", None)
    return notes | pairs


def _activation(path: Path, content: Mapping[Any, Any]) -> Activation | None:
    name = content.get("activation_func")
    if name is None or name == "linear":
        return None
    if not isinstance(name, str):
        raise BadFile(path, f"has a {type(name).__name__} for the name of its activation. Download it again.")
    if name not in ACTIVATIONS:
        raise BadFile(path, f'uses the activation "{name}"; known are: linear, {", ".join(sorted(ACTIVATIONS))}.')
    return ACTIVATIONS[name]().eval()


def _pair(path: Path, width: int, pair: Any, activation: Activation | None, activate_output: bool) -> tuple[Bend, Bend]:
    if not isinstance(pair, tuple | list) or len(pair) != 2 or not all(isinstance(side, Mapping) for side in pair):
        raise BadFile(path, f"has no pair of modules for width {width}. Download it again.")
    keys, values = (_bend(path, width, side, activation, activate_output) for side in pair)
    return keys, values


def _bend(
    path: Path, width: int, state: Mapping[Any, Any], activation: Activation | None, activate_output: bool
) -> Bend:
    """The module whose layers these are: matrices and normalisations by their place in the row.

    Their places leave gaps for activations and dropout, which therefore need not be read from the structure that the
    file describes; dropout does nothing outside training.
    """
    layers = _by_place(path, state)
    matrices = [place for place, parts in layers.items() if parts["weight"].dim() == 2]
    steps, reached = [], width
    for place, parts in layers.items():
        weight, bias = parts["weight"], parts["bias"]
        expected = (weight.shape[0], reached) if weight.dim() == 2 else (reached,)
        if weight.dim() not in (1, 2) or tuple(weight.shape) != expected or bias.shape != weight.shape[:1]:
            raise BadFile(path, f"has layers for width {width} that do not follow on each other. Download it again.")
        reached = weight.shape[0]
        active = weight.dim() == 2 and (place != matrices[-1] or activate_output)
        steps.append(Step(weight, bias, activation if active else None))
    if not matrices or reached != width:
        raise BadFile(path, f"turns a text of width {width} into one of {reached}. Download it again.")
    return Bend(tuple(steps))


def _by_place(path: Path, state: Mapping[Any, Any]) -> dict[int, dict[str, torch.Tensor]]:
    """Weight and bias of each layer that has them, in the order of application."""
    layers: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in state.items():
        first, _, rest = str(name).partition(".")
        match = KEY.fullmatch(f"{OLD_NAMES[first]}.{rest}" if first in OLD_NAMES else str(name))
        if match is None or not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point():
            raise BadFile(path, f"has the layer {name!r}, which no hypernetwork has. Check what kind of file it is.")
        layers.setdefault(int(match[1]), {})[match[2]] = owned(path, str(name), tensor)
    if len(layers) > MAX_LAYERS or any(parts.keys() != {"weight", "bias"} for parts in layers.values()):
        raise BadFile(path, "has layers without weight or bias, or far too many. Download it again.")
    return dict(sorted(layers.items()))
