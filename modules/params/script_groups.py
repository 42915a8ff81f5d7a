"""The parts of a request that A1111 has in scripts: SD upscale, soft inpainting."""

from __future__ import annotations

from pydantic import field_validator

from .declare import Group, param
from .errors import UnknownName
from .upscalers import PIXEL_UPSCALERS, pixel_upscaler

SD_UPSCALE = "SD upscale"
SCRIPTS_IMG2IMG = (SD_UPSCALE,)
"""What may take the place of plain img2img, by A1111's names."""


class SoftInpainting(Group):
    """A1111's script of that name: what is made anew and what stays blend into each other."""

    soft_inpainting: bool = param(
        False,
        "Soft inpainting",
        infotext="Soft inpainting enabled",
        help="blend what is new and what stays by how much it changed; a large mask blur suits it",
    )
    soft_inpainting_schedule_bias: float = param(
        1.0,
        "Schedule bias",
        infotext="Soft inpainting schedule bias",
        ge=0,
        le=8,
        ui=(0, 8, 0.1),
        help="above 1 the original is kept more in the beginning, below 1 near the end",
    )
    soft_inpainting_preservation_strength: float = param(
        0.5,
        "Preservation strength",
        infotext="Soft inpainting preservation strength",
        ge=0,
        le=8,
        ui=(0, 8, 0.05),
        help="how strongly what is masked in part is kept",
    )
    soft_inpainting_transition_contrast_boost: float = param(
        4.0,
        "Transition contrast boost",
        infotext="Soft inpainting transition contrast boost",
        ge=1,
        le=32,
        ui=(1, 32, 0.5),
        help="makes up for contrast that is lost where the mask is soft",
    )
    soft_inpainting_mask_influence: float = param(
        0.0,
        "Mask influence",
        infotext="Soft inpainting mask influence",
        ge=0,
        le=1,
        ui=(0, 1, 0.05),
        help="0: only how much has changed decides which pixels are new; 1: the mask does",
    )
    soft_inpainting_difference_threshold: float = param(
        0.5,
        "Difference threshold",
        infotext="Soft inpainting difference threshold",
        ge=0,
        le=8,
        ui=(0, 8, 0.25),
        help="how much may change before the original's pixels are given up",
    )
    soft_inpainting_difference_contrast: float = param(
        2.0,
        "Difference contrast",
        infotext="Soft inpainting difference contrast",
        ge=0,
        le=8,
        ui=(0, 8, 0.25),
        help="how sharp the transition between original and new pixels is",
    )


class Scripted(Group):
    """What is done with the picture in place of plain img2img."""

    script: str = param("", "Script", choices=SCRIPTS_IMG2IMG, help="empty: none")

    @field_validator("script")
    @classmethod
    def _known_script(cls, name: str) -> str:
        wanted = name.strip().casefold()
        if wanted in ("", "none"):
            return ""
        for known in SCRIPTS_IMG2IMG:
            if wanted == known.casefold():
                return known
        raise UnknownName("Script", name, SCRIPTS_IMG2IMG)


class SdUpscale(Group):
    """The script SD upscale: the picture is enlarged, then redrawn in tiles of the request's width and height."""

    sd_upscale_overlap: int = param(
        64, "Tile overlap", infotext="SD upscale overlap", ge=0, le=2048, ui=(0, 256, 16), help="pixels"
    )
    sd_upscale_scale: float = param(
        2.0, "Scale factor", infotext="SD upscale scale", ge=1, le=16, ui=(1, 4, 0.05), help="sides, times this"
    )
    sd_upscale_upscaler: str = param(
        "Lanczos",
        "Upscaler",
        infotext="SD upscale upscaler",
        choices=PIXEL_UPSCALERS,
        help="None: the picture is redrawn at its own size",
    )

    @field_validator("sd_upscale_upscaler")
    @classmethod
    def _known_pixel_upscaler(cls, name: str) -> str:
        return pixel_upscaler(name)
