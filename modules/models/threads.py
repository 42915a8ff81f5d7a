"""How many threads work on what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import nn

SMALL = 2**32
"""Positions of x times weights, below which other threads save little and, on a busy machine, cost much."""

LANES = 4
"""Pieces of work that are in hand at once, each with what it needs of memory."""


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


def side_by_side(pieces: Sequence[Callable[[], object]]) -> None:
    """Nothing, once all pieces of work on a CPU are done, some of them at a time, each on its share of the threads.

    Whole pieces beside each other need not wait at the end of every operation until the last thread is through with it.
    Where a piece raises, those that were not begun are left out, and the error of the first that failed is raised.
    """
    threads = torch.get_num_threads()
    lanes = min(threads, LANES, len(pieces))
    if lanes < 2:
        for piece in pieces:
            piece()
        return
    share = threads // lanes
    try:
        with ThreadPoolExecutor(lanes, "lane", torch.set_num_threads, (share,)) as pool:
            done = [pool.submit(piece) for piece in pieces]
            try:
                for each in done:
                    each.result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
    finally:
        torch.set_num_threads(threads)  # for threads to come too, which begin with the number that was set last
