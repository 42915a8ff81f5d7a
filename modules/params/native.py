"""What a checkpoint is made for where it does not say so itself."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

NATIVE_SIZES: Mapping[str, tuple[int, int]] = MappingProxyType(
    {"sd1": (512, 512), "sd2": (768, 768), "sdxl": (1024, 1024), "sdxl_refiner": (1024, 1024)}
)
"""Width and height in pixels, by family."""

DEFAULT_CFG = 7.0


def native_size(family: str) -> tuple[int, int]:
    """Width and height for checkpoints of the family; of an unknown one, those of the first and smallest."""
    return NATIVE_SIZES.get(family, NATIVE_SIZES["sd1"])
