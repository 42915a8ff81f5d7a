"""How many threads a UNet runs on."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

SMALL = 2**32
"""Positions of x times weights, below which other threads save little and, on a busy machine, cost much."""


def run_small_on_one_thread(unet: nn.Module) -> None:
    """Have calls of little work run on one thread of a CPU, whatever else there is.

    The kernels of some convolutions split their sums by the number of threads. On one, a small picture is the same to
    the last bit on every machine of a kind, and the reference's; large ones need the speed more.
    """
    weights = sum(weight.numel() for weight in unet.parameters())
    threads: list[int] = []

    def begin(module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        x = given[0] if given else named["sample"]
        threads.append(torch.get_num_threads())
        if x.device.type == "cpu" and x.shape[0] * x.shape[-1] * x.shape[-2] * weights < SMALL:
            torch.set_num_threads(1)

    def end(module: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        torch.set_num_threads(threads.pop())

    unet.register_forward_pre_hook(begin, with_kwargs=True)
    unet.register_forward_hook(end, always_call=True)
