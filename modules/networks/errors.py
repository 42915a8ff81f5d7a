"""What a person is told when a network, or a part of it, is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal

from modules.catalogue import a_model, called
from modules.params import BadFile, TagbrushError

Kind = Literal["lora", "hypernet", "embedding"]
LABELS: Mapping[Kind, str] = MappingProxyType({"lora": "LoRA", "hypernet": "Hypernetwork", "embedding": "Embedding"})
NAMES_SHOWN = 3


class NetworkMisfit(TagbrushError):
    """A network whose file is whole, but which was made for another kind of model than the one in use.

    `made_for` and `model` are families, "" where unknown; equal ones mean a model of another size.
    """

    def __init__(self, name: str, *, made_for: str, model: str, because: str = "") -> None:
        self.name, self.made_for, self.model = name, made_for, model
        reason = f" ({because})" if because else ""
        if made_for and made_for == model:
            difference = f"made for {called(made_for)} models of another size than this one"
        else:
            difference = f"made for {called(made_for)}, this is {a_model(model)}"
        super().__init__(f"{name}: {difference}{reason}. Choose a checkpoint like the one that it was made for.")


def describe(kind: Kind, name: str, error: TagbrushError) -> str:
    """One sentence on why a network is missing from the picture, for the page, the infotext's notices and the API."""
    reason = error.reason if isinstance(error, BadFile) else str(error).removeprefix(f"{name}: ")
    return f'{LABELS[kind]} "{name}" was left out: {reason}'


def describe_partial(kind: Kind, name: str, unmatched: Sequence[str], total: int) -> str:
    """One sentence on those of a network's `total` layers that the model does not have; "" where there are none."""
    if not unmatched:
        return ""
    shown = ", ".join(unmatched[:NAMES_SHOWN]) + (", ..." if len(unmatched) > NAMES_SHOWN else "")
    return (
        f'{LABELS[kind]} "{name}" was applied in part: {len(unmatched)} of its {total} layers '
        f"do not fit this model ({shown})."
    )
