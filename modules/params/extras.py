"""What is done to a finished picture: the parameters of A1111's tab Extras, under its wire names."""

from __future__ import annotations

from pydantic import field_validator

from .declare import Group, param
from .sizes import LARGEST_SIDE, check_sides, scaled_size
from .upscalers import PIXEL_UPSCALERS, pixel_upscaler

SCALE_MODES = ("Scale by", "Scale to")
SCALE_BY, SCALE_TO = 0, 1


class Extras(Group):
    """How a picture is enlarged, by one upscaler or a mixture of two."""

    resize_mode: int = param(0, "Resize mode", ge=0, le=1, names=SCALE_MODES)
    upscaling_resize: float = param(
        2.0, "Resize", ge=0.01, le=64, ui=(1, 8, 0.05), help="the factor; sides become multiples of 8"
    )
    upscaling_resize_w: int = param(512, "Width", ge=1, le=LARGEST_SIDE, ui=(64, 8192, 8))
    upscaling_resize_h: int = param(512, "Height", ge=1, le=LARGEST_SIDE, ui=(64, 8192, 8))
    upscaling_crop: bool = param(
        True, "Crop to fit", help="cut off what hangs over width x height; off: keep the whole picture, covering them"
    )
    upscaler_1: str = param("None", "Upscaler 1", choices=PIXEL_UPSCALERS, help="None leaves the picture as it is")
    upscaler_2: str = param("None", "Upscaler 2", choices=PIXEL_UPSCALERS)
    extras_upscaler_2_visibility: float = param(0.0, "Upscaler 2 visibility", ge=0, le=1, ui=(0, 1, 0.001))

    @field_validator("upscaler_1", "upscaler_2")
    @classmethod
    def _known_upscaler(cls, name: str) -> str:
        return pixel_upscaler(name)

    def size(self, width: int, height: int) -> tuple[int, int]:
        """The size that a picture of these sides is enlarged to. Raises BadRequest where that is beyond all limits."""
        if self.upscaler_1 == "None":
            return width, height
        if self.resize_mode == SCALE_BY:
            return scaled_size(width, height, self.upscaling_resize)
        if self.upscaling_crop:
            return self.upscaling_resize_w, self.upscaling_resize_h
        factor = max(self.upscaling_resize_w / width, self.upscaling_resize_h / height)
        wide, tall = max(round(width * factor), 1), max(round(height * factor), 1)
        check_sides(width, height, wide, tall)
        return wide, tall
