"""What can enlarge a picture between the two passes of hires fix, as data."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

from .errors import BadRequest, UnknownName


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


class UnknownUpscaler(BadRequest):
    """An upscaler of pictures that this version does not have; most that people ask for are models."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f'Upscaler "{name}" is not there: this version has {", ".join(PIXEL_UPSCALERS)}. Upscalers that are '
            "models (ESRGAN, R-ESRGAN, SwinIR and the like) come in a later one; choose Lanczos until then."
        )


def check_upscaler(name: str) -> None:
    """Nothing, if there is an upscaler of that name. Raises UnknownName with the nearest one."""
    if name not in HIRES_UPSCALERS:
        raise UnknownName("Upscaler", name, HIRES_UPSCALERS)


def pixel_upscaler(name: str) -> str:
    """The name of an upscaler of pictures, as it is listed; nothing means "None".

    Raises UnknownUpscaler, which says that those that are models are not there.
    """
    wanted = name.strip().casefold() or "none"
    for known in PIXEL_UPSCALERS:
        if wanted == known.casefold():
            return known
    raise UnknownUpscaler(name)
