"""What can enlarge a picture between the two passes of hires fix, as data."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

from .errors import UnknownName


class Interpolation(NamedTuple):
    """How latents are enlarged: arguments of torch's `interpolate`."""

    mode: Literal["bilinear", "bicubic", "nearest", "nearest-exact"]
    antialias: bool = False


LATENT_UPSCALERS: Mapping[str, Interpolation] = MappingProxyType(
    {
        "Latent": Interpolation("bilinear"),
        "Latent (antialiased)": Interpolation("bilinear", antialias=True),
        "Latent (bicubic)": Interpolation("bicubic"),
        "Latent (bicubic antialiased)": Interpolation("bicubic", antialias=True),
        "Latent (nearest)": Interpolation("nearest"),
        "Latent (nearest-exact)": Interpolation("nearest-exact"),
    }
)
PIXEL_UPSCALERS = ("None", "Lanczos", "Nearest")
"""Those that need no file; what they leave to the wanted size is done with Lanczos."""

HIRES_UPSCALERS = (*LATENT_UPSCALERS, *PIXEL_UPSCALERS)


def check_upscaler(name: str) -> None:
    """Nothing, if there is an upscaler of that name. Raises UnknownName with the nearest one."""
    if name not in HIRES_UPSCALERS:
        raise UnknownName("Upscaler", name, HIRES_UPSCALERS)
