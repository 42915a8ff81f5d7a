"""What a LoRA file does to one layer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from modules.catalogue import VARIANT_OF_CHANNELS
from modules.models import Thin
from modules.networks.lora.changes import Change, Misshapen, Parts, check_rank, on, single
from modules.networks.lora.direct import FullChange, NormChange, ScalingChange
from modules.networks.lora.glora import GeneralChange
from modules.networks.lora.linear import LinearChange, TuckerChange
from modules.networks.lora.loha import HadamardChange, TuckerHadamardChange
from modules.networks.lora.lokr import KroneckerChange
from modules.networks.lora.magnitude import Magnitude
from modules.networks.lora.oft import ButterflyChange, RotationChange

LATENT_CHANNELS = 4
WIDER_CHANNELS = frozenset(VARIANT_OF_CHANNELS) - {LATENT_CHANNELS}
"""Of a first layer that reads a picture beside the latents: instruct-pix2pix and inpainting."""
KINDS: tuple[type[Change], ...] = (
    TuckerChange,
    LinearChange,
    TuckerHadamardChange,
    HadamardChange,
    KroneckerChange,
    ScalingChange,
    FullChange,
    NormChange,
    GeneralChange,
    RotationChange,
    ButterflyChange,
)
"""The first that claims a layer's parts has them."""
MODIFIERS = frozenset({"alpha", "scale", "bias", "dora_scale", "magnitude", "diff_b", "b_norm"})


@dataclass(frozen=True, eq=False)
class Layer:
    """A change of one layer's weight, of its bias, or of both."""

    change: Change | None
    scale: float
    """What the file multiplies its change by: its `scale`, else alpha / rank, else 1."""
    addition: torch.Tensor | None
    """Added to the change as it is in the file, before the scale."""
    magnitude: Magnitude | None
    """DoRA: the changed weight takes its direction from the change and its length from here."""
    bias: torch.Tensor | None
    """(O,)"""

    @classmethod
    def from_parts(cls, parts: Parts) -> Layer:
        """The layer that these tensors describe. Raises Misshapen where they are of no known kind, or contradict."""
        for name in parts.keys() & {"scale", "alpha"}:
            if parts[name].numel() != 1:
                raise Misshapen(f"{name} must be one number: {list(parts[name].shape)}")
        change = _change(parts)
        bias = parts.get("diff_b", parts.get("b_norm"))
        if change is None and bias is None:
            raise Misshapen(f"no kind of LoRA is made of {', '.join(sorted(parts))}")
        if bias is not None and bias.dim() != 1:
            raise Misshapen(f"a difference to a bias must be one row of numbers: {list(bias.shape)}")
        return cls(change, _scale(parts, change), parts.get("bias"), Magnitude.from_parts(parts), bias)

    def fits(self, weight: torch.Size, *, bias: torch.Size | None) -> bool:
        """Whether it can change a weight of that shape, and the bias (None: there is none) beside it."""
        if self.bias is not None and self.bias.shape != (bias or weight[:1]):
            return False
        if self.change is None:
            return True
        narrow = self._shape(weight)
        return (
            self.change.fits(narrow)
            and (self.addition is None or self.addition.numel() == narrow.numel())
            and (self.magnitude is None or self.magnitude.fits(narrow))
        )

    def weight_delta(self, original: torch.Tensor, strength: float, dyn: int | None) -> torch.Tensor:
        """The float32 difference to a weight that it fits; depends on the weight for some kinds."""
        assert self.change is not None
        narrow = original[:, : self._shape(original.shape)[1]] if original.dim() > 1 else original
        gain = single(self.scale if self.magnitude is not None else self.scale * strength)
        delta = self.change.delta(narrow, gain, dyn).reshape(narrow.shape)
        if self.addition is not None:
            delta = delta.add_(on(self.addition, original).reshape(delta.shape), alpha=gain)
        if self.magnitude is not None:
            delta = (self.magnitude.restored(narrow + delta) - narrow).mul_(strength)
        if narrow.shape == original.shape:
            return delta
        return functional.pad(delta, (0, 0, 0, 0, 0, original.shape[1] - narrow.shape[1]))

    def is_of_rows(self, rows: int) -> bool:
        """Whether each `rows` rows of the changed weight depend on these rows of the original alone."""
        if isinstance(self.change, RotationChange):
            return rows % self.change.blocks.shape[1] == 0
        return self.magnitude is None and not isinstance(self.change, ButterflyChange)

    def thin(self, weight: torch.Size, strength: float, dyn: int | None) -> Thin | None:
        """The difference to a weight of that shape as two thin matrices; None where it is more than their product."""
        plain = isinstance(self.change, LinearChange | TuckerChange) and self.addition is None
        if not plain or self.magnitude is not None or self._shape(weight) != weight:
            return None
        assert isinstance(self.change, LinearChange | TuckerChange)
        return Thin(*self.change.thin(dyn), single(self.scale * strength))

    def bias_delta(self, original: torch.Tensor, strength: float) -> torch.Tensor:
        """The float32 difference to the bias; the scale is the weight's alone."""
        assert self.bias is not None
        return on(self.bias, original) * strength

    def _shape(self, weight: torch.Size) -> torch.Size:
        """The part of a weight that it changes: of a first layer that reads more, the four latent channels (D043)."""
        is_wider = len(weight) == 4 and weight[1] in WIDER_CHANNELS
        if not is_wider or self.change is None or self.change.fits(weight):
            return weight
        return torch.Size((weight[0], LATENT_CHANNELS, *weight[2:]))


def _change(parts: Parts) -> Change | None:
    kind = next((kind for kind in KINDS if kind.claims(parts)), None)
    unknown = parts.keys() - MODIFIERS - (kind.takes if kind else frozenset())
    if unknown:
        raise Misshapen(f"no kind of LoRA is made of {', '.join(sorted(parts))}")
    if kind is None:
        return None
    change = kind.from_parts(parts)
    if change.rank is not None:
        check_rank(change.rank)
    return change


def _scale(parts: Parts, change: Change | None) -> float:
    if isinstance(change, RotationChange | ButterflyChange) or change is None:
        return 1.0
    if "scale" in parts:
        return float(parts["scale"])
    if "alpha" in parts and change.rank is not None:
        return float(parts["alpha"]) / change.rank
    return 1.0
