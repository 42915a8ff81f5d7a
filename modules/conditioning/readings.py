"""Which text encoders a model has, and which of their layers it was trained to read (P086)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from modules.catalogue import CLIP_G, CLIP_L
from modules.models import Model
from modules.params import TagbrushError
from modules.prompt import EOS

if TYPE_CHECKING:
    from transformers import CLIPTextModel

OPEN_CLIP_PAD = 0
"""OpenCLIP fills a row up with token 0 where OpenAI's CLIP repeats its EOS (P081)."""


class NoTextEncoder(TagbrushError):
    """A checkpoint that lacks a text encoder of its family."""

    def __init__(self, model: Model) -> None:
        super().__init__(f"{model.path.name} has no text encoder to read prompts with. Choose a complete checkpoint.")


@dataclass(frozen=True, eq=False)
class Reading:
    """A text encoder and how its output is taken."""

    name: str
    """As embeddings call their part for it."""
    encoder: CLIPTextModel
    skip: int
    """Which layer's state is read, counted from the end: 1 is the last."""
    is_normed: bool
    """Whether the final norm is applied to that state."""
    pad: int = EOS
    projection: nn.Module | None = None
    """What makes the whole row's vector out of the last layer's state, for encoders that give one."""


def readings(model: Model, *, clip_skip: int = 1, clip_l_skip: bool = False) -> tuple[Reading, ...]:
    """The model's text encoders in the order in which their outputs are joined.

    Clip skip is the choice of SD 1 alone: SD 2 and SDXL are trained on the last layer but one of their encoders, SDXL
    without the final norm (Podell et al. 2023, arXiv:2307.01952, section 2.1). Of SD 2's, the last layer is not even
    loaded. `clip_l_skip` lets clip skip choose for SDXL's first encoder too. Raises NoTextEncoder.
    """
    if model.family == "sdxl":
        return _clip_l(model, clip_skip if clip_l_skip else 2, is_normed=False), _clip_g(model)
    if model.family == "sdxl_refiner":
        return (_clip_g(model),)
    if model.family == "sd2":
        return (_clip_l(model, 1, is_normed=True, pad=OPEN_CLIP_PAD),)
    return (_clip_l(model, clip_skip, is_normed=True),)


def _clip_l(model: Model, skip: int, *, is_normed: bool, pad: int = EOS) -> Reading:
    if model.text_encoder is None:
        raise NoTextEncoder(model)
    return Reading(CLIP_L, model.text_encoder, skip, is_normed, pad)


def _clip_g(model: Model) -> Reading:
    encoder = model.text_encoder_2
    if encoder is None:
        raise NoTextEncoder(model)
    return Reading(CLIP_G, encoder.text_model, 2, False, OPEN_CLIP_PAD, encoder.text_projection)
