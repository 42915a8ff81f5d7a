"""Whether a network was made for a checkpoint, told before either is loaded (P095, D047)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from .entries import Entry
from .families import Family

FAMILY_NAMES: Mapping[Family, str] = MappingProxyType(
    {"sd1": "SD 1", "sd2": "SD 2", "sdxl": "SDXL", "sdxl_refiner": "SDXL's refiner"}
)


def misfit(network: Entry, checkpoint: Entry) -> str | None:
    """Why a network cannot work with a checkpoint, in a sentence for its card; None where it can, or nothing tells."""
    if not (network.examined and checkpoint.examined) or network.error or checkpoint.error:
        return None
    if network.kind == "embedding":
        return _embedding_misfit(network, checkpoint)
    if network.kind in ("lora", "hypernetwork") and _differ(network.family, checkpoint.family):
        return f"It was made for {FAMILY_NAMES[network.family]}; {_described(checkpoint)}."
    return None


def _embedding_misfit(embedding: Entry, checkpoint: Entry) -> str | None:
    if checkpoint.width is None or embedding.width is None:
        return None
    if (embedding.family == "sdxl") != (checkpoint.family == "sdxl") and checkpoint.family:
        made_for = FAMILY_NAMES[embedding.family] if embedding.family else "another model"
        return f"It was made for {made_for}; {_described(checkpoint)}."
    if embedding.width != checkpoint.width:
        return f"Its vectors have {embedding.width} numbers each, those of {checkpoint.name} have {checkpoint.width}."
    return None


def _differ(made_for: Family, family: Family) -> bool:
    """Whether both are known and not the same; a refiner takes what was made for SDXL as far as it goes."""
    return bool(made_for and family) and made_for != family.removesuffix("_refiner")


def _described(checkpoint: Entry) -> str:
    known = FAMILY_NAMES.get(checkpoint.family)
    return f"{checkpoint.name} is {known}" if known else f"{checkpoint.name} is of another kind"
