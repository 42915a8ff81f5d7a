"""Text encoders that wait in main memory while nobody asks them: a gigabyte and a half of SDXL's on its card."""

from __future__ import annotations

import torch
from torch import nn

from modules.models.memory import free_memory
from modules.models.merges import bare
from modules.models.merging import ordinary_tensors
from modules.models.model import Model

WAITING = torch.device("cpu")
ENCODERS = ("text_encoder", "text_encoder_2")


def fetch_encoders(model: Model) -> None:
    """Have the text encoders on the model's device, for merging and asking."""
    if model.spares_memory:
        _move(model, model.device)


def rest_encoders(model: Model) -> None:
    """Let the text encoders of a model that spares memory wait, and give the device what they held.

    Their numbers, merged or not, stay what they are; the parameters stay the same objects.
    """
    if model.spares_memory:
        _move(model, WAITING)
        free_memory(model.device)


def _move(model: Model, place: torch.device) -> None:
    with ordinary_tensors():  # they outlive the job, whatever mode it is in
        for name in ENCODERS:
            encoder: nn.Module | None = bare(model, name)  # not put back meanwhile, if it is merged
            if encoder is not None:
                encoder.to(place)
