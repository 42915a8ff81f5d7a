"""Whether a network was made for a checkpoint, told before either is loaded (P095, D047)."""

from __future__ import annotations

from .entries import Entry
from .made_for import a_model, called, is_tried_on


def misfit(network: Entry, checkpoint: Entry) -> str | None:
    """Why a network cannot work with a checkpoint, in a sentence for its card; None where it can, or nothing tells."""
    if not (network.examined and checkpoint.examined) or network.error or checkpoint.error:
        return None
    if network.kind == "embedding":
        return _embedding_misfit(network, checkpoint)
    if network.kind not in ("lora", "hypernetwork") or not checkpoint.family:
        return None
    return None if is_tried_on(network.family, checkpoint.family) else _made_for_another(network, checkpoint)


def _embedding_misfit(embedding: Entry, checkpoint: Entry) -> str | None:
    if checkpoint.width is None or embedding.width is None:
        return None
    if (embedding.family == "sdxl") != (checkpoint.family == "sdxl") and checkpoint.family:
        return _made_for_another(embedding, checkpoint)
    if embedding.width != checkpoint.width:
        return f"Its vectors have {embedding.width} numbers each, those of {checkpoint.name} have {checkpoint.width}."
    return None


def _made_for_another(network: Entry, checkpoint: Entry) -> str:
    return f"It was made for {called(network.family)}; {checkpoint.name} is {a_model(checkpoint.family)}."
