"""Checkpoints of which only the averaged weights are left.

While a model is trained, an exponential moving average of its weights is kept beside them (CompVis' `LitEma`), under
names without dots. Files that hold both are drawn with by their ordinary weights, as everywhere; where somebody cut
those out, the averages are the model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

Tensor = TypeVar("Tensor")

UNET = "model.diffusion_model."
AVERAGES = "model_ema.diffusion_model"

_PART = re.compile(
    r"""
    (?: (input_blocks|output_blocks) (\d+) (\d) | (middle_block) (\d) | (time_embed|out) (\d) | (label_emb) (\d) (\d) )
    (?: (in_layers|out_layers|emb_layers) (\d)
      | (skip_connection|op|conv|norm|proj_in|proj_out)
      | (transformer_blocks) (\d+)
        (?: (attn\d) (?: (to_[qkv]) | (to_out) (\d) ) | (ff) (net) (\d) (proj)? | (norm\d) )
    )?
    (weight|bias)
    """,
    re.VERBOSE,
)


def averages_as_weights(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The tensors, with the averages under the ordinary names where a file has nothing under these."""
    if any(name.startswith(UNET) for name in tensors) or not any(name.startswith(AVERAGES) for name in tensors):
        return tensors
    dotted = {name: _dotted(name.removeprefix(AVERAGES)) for name in tensors if name.startswith(AVERAGES)}
    return {f"{UNET}{dotted[name]}" if dotted.get(name) else name: tensor for name, tensor in tensors.items()}


def _dotted(name: str) -> str | None:
    """A UNet's weight with the dots back in its name; None for a name that no UNet has."""
    match = _PART.fullmatch(name)
    return ".".join(group for group in match.groups() if group is not None) if match else None
