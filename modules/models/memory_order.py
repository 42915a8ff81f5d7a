"""The order in which a UNet's numbers lie in memory on a CPU, which decides how its convolutions round.

A1111 hands each transformer's result on with the channels last, and the layers after it keep that order for a while.
diffusers puts the channels first again. With A1111's order a picture comes back to the last bit; without it, what is
ill-conditioned (a consistency model under strong guidance, noise-prediction weights read as v) differs by up to 0.1.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def put_channels_last(unet: nn.Module) -> None:
    """Have the results of the UNet's transformers lie in memory as A1111's do; the numbers themselves are the same."""
    from diffusers import Transformer2DModel

    for module in unet.modules():
        if not isinstance(module, Transformer2DModel):
            continue
        if isinstance(module.proj_out, nn.Conv2d):
            module.proj_out.register_forward_pre_hook(_reorder_input)
        else:
            module.register_forward_hook(_reorder_output)


def _reorder_input(module: nn.Module, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return tuple(map(_channels_last, given))


def _reorder_output(module: nn.Module, given: Any, output: Any) -> Any:
    if isinstance(output, tuple):
        return (_channels_last(output[0]), *output[1:])
    return type(output)(sample=_channels_last(output.sample))


def _channels_last(x: torch.Tensor) -> torch.Tensor:
    return x.contiguous(memory_format=torch.channels_last) if x.device.type == "cpu" else x
