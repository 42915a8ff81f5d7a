"""Training in several one-thread processes on one machine, which average their gradients."""

from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn


def run_workers(work: Callable[..., None], workers: int, *arguments: object) -> None:
    """Call `work(rank, workers, *arguments)` in `workers` processes and wait for all of them.

    One thread each: for small layers two processes of one thread beat one process of two.
    """
    with TemporaryDirectory() as folder:
        mp.spawn(_enter, (work, workers, (Path(folder) / "meeting").as_uri(), arguments), nprocs=workers)


def _enter(rank: int, work: Callable[..., None], workers: int, meeting: str, arguments: tuple[object, ...]) -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # vanishing gradients otherwise take 100 times as long
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=workers)
    try:
        work(rank, workers, *arguments)
    finally:
        dist.destroy_process_group()


def average_gradients(parameters: Iterable[nn.Parameter], *values: float) -> list[float]:
    """Replace every gradient by its mean over the processes, and return the means of `values` too."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not dist.is_initialized():
        return list(values)
    flat = torch.cat([gradient.flatten() for gradient in gradients] + [torch.tensor(values)])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    start = 0
    for gradient in gradients:
        gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
        start += gradient.numel()
    return flat[start:].tolist()


@torch.no_grad()
def average_weights(parameters: Iterable[nn.Parameter], *values: float) -> list[float]:
    """Replace every weight by its mean over the processes, and return the means of `values` too.

    For processes that step on their own in between (Lin et al. 2018, arXiv:1808.07217): where the machine has other
    work to do, they wait for each other far less often.
    """
    if not dist.is_initialized():
        return list(values)
    weights = list(parameters)
    flat = torch.cat([weight.flatten() for weight in weights] + [torch.tensor(values)])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    start = 0
    for weight in weights:
        weight.copy_(flat[start : start + weight.numel()].view_as(weight))
        start += weight.numel()
    return flat[start:].tolist()


def broadcast_weights(module: nn.Module) -> None:
    """Give every process the first one's weights."""
    if dist.is_initialized():
        for tensor in module.state_dict().values():
            dist.broadcast(tensor, 0)
