"""How many workers a cluster takes, and what each of them needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from modules.params import TagbrushError


class NoCluster(TagbrushError):
    """A cluster that cannot be used, and why."""


class Slot(BaseModel):
    """What one worker asks of the cluster, and how many threads it computes with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gpus: float = 0.0
    cpus: float = 0.0
    threads: int = 1

    def __str__(self) -> str:
        """For a person: "1 GPU", "8 processors"."""
        if self.gpus:
            return f"{self.gpus:g} GPU"
        return f"{self.cpus:g} processor{'' if self.cpus == 1 else 's'}"


@dataclass(frozen=True, slots=True)
class NodeOffer:
    """What a node of the cluster has, free or not."""

    name: str
    cpus: float
    gpus: float


def plan_slots(nodes: Iterable[NodeOffer], *, workers: int | None = None, device: str = "auto") -> tuple[Slot, ...]:
    """One slot for each GPU, or one for each node with processors where there is no GPU or `device` is "cpu".

    `workers` is the most there shall be; without GPUs it is their number, and a node's processors are shared out.
    Raises NoCluster where there is nothing to compute on.
    """
    there = list(nodes)
    with_gpus = [node for node in there if node.gpus >= 1 and device != "cpu"]
    if with_gpus:
        slots = [
            Slot(gpus=1, threads=max(1, int(node.cpus // node.gpus)))
            for node in with_gpus
            for _ in range(int(node.gpus))
        ]
        return tuple(slots[:workers])
    computing = sorted((node for node in there if node.cpus > 0), key=lambda node: -node.cpus)
    if not computing:
        raise NoCluster(
            f"The Ray cluster has {len(there)} nodes, none of them with a GPU or a processor to offer. "
            "Start Ray on a node with --num-gpus or --num-cpus."
        )
    wanted = len(computing) if workers is None else workers
    each = [len(range(number, wanted, len(computing))) for number in range(len(computing))]
    shares = [(node.cpus / count, count) for node, count in zip(computing, each, strict=True) if count]
    return tuple(_share(share) for share, count in shares for _ in range(count))


def _share(cpus: float) -> Slot:
    whole = float(int(cpus)) if cpus >= 1 else cpus
    return Slot(cpus=whole, threads=max(1, int(cpus)))
