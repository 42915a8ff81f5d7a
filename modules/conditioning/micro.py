"""SDXL's micro-conditioning: the sizes and crops it was trained to be told (Podell et al. 2023, arXiv:2307.01952)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

HIGH_SCORE, LOW_SCORE = 6.0, 2.5


@dataclass(frozen=True, slots=True)
class Micro:
    """What SDXL is told of the picture: the size of the pass in pixels, and where a larger picture was cut."""

    width: int = 1024
    height: int = 1024
    crop_top: int = 0
    crop_left: int = 0
    aesthetic_score: float | None = None
    """Read by the refiner; None is 6.0 for a prompt and 2.5 for a negative prompt."""


def time_ids(family: str, micro: Micro, *, negative: bool = False) -> torch.Tensor | None:
    """(6,): original size, crop, target size, each the vertical number first; the refiner's (5,) ends in its score.

    The picture is its own original. None for models that are told nothing.
    """
    size, crop = (micro.height, micro.width), (micro.crop_top, micro.crop_left)
    if family == "sdxl":
        return torch.tensor([*size, *crop, *size], dtype=torch.float32)
    if family != "sdxl_refiner":
        return None
    score = micro.aesthetic_score
    if score is None:
        score = LOW_SCORE if negative else HIGH_SCORE
    return torch.tensor([*size, *crop, score], dtype=torch.float32)
