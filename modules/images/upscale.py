"""Enlarging a finished picture, as A1111's tab Extras and its API do: no model, no job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from PIL import Image

from modules.params import SCALE_TO, Extras, pixel_upscaler

from .resize import ResizeMode, Upscaler, enlarge, lanczos, nearest, resize_image

UPSCALERS: Mapping[str, Upscaler] = MappingProxyType({"Lanczos": lanczos, "Nearest": nearest})
"""Those that need no file; "None" is none of them."""


@dataclass(frozen=True, eq=False)
class Upscaled:
    """A picture, and what its text says of how it was enlarged: A1111's keys, in its order."""

    image: Image.Image
    fields: Mapping[str, str]


def upscale(image: Image.Image, extras: Extras) -> Upscaled:
    """The picture enlarged; as it is where the first upscaler is "None".

    RGB, or RGBA where it is transparent. The second upscaler's picture is laid over the first's by its visibility.
    Unlike A1111's, a picture scaled to a size fills all of it: there, sides rounded down to multiples of 8 leave black
    edges. Raises BadRequest where it would become too large.
    """
    image = image if image.mode in ("RGB", "RGBA") else image.convert("RGBA" if image.has_transparency_data else "RGB")
    if extras.upscaler_1 == "None":
        return Upscaled(image, {})
    extras.size(*image.size)  # refuses sizes beyond the limits before any work is done
    result = _enlarged(image, extras, extras.upscaler_1)
    fields = {**_describe(extras), "Postprocess upscaler": extras.upscaler_1}
    visibility = extras.extras_upscaler_2_visibility
    if extras.upscaler_2 != "None" and visibility > 0:
        result = Image.blend(result, _enlarged(image, extras, extras.upscaler_2), visibility)
        fields["Postprocess upscaler 2"] = extras.upscaler_2
    return Upscaled(result, fields)


def upscale_by(image: Image.Image, scale: float, name: str) -> Image.Image:
    """The picture enlarged by a factor, both sides multiples of 8; as it is with "None". Raises UnknownUpscaler."""
    upscaler = UPSCALERS.get(pixel_upscaler(name))
    return image if upscaler is None else enlarge(image, scale, upscaler)


def _enlarged(image: Image.Image, extras: Extras, name: str) -> Image.Image:
    if extras.resize_mode == SCALE_TO:
        mode = ResizeMode.CROP if extras.upscaling_crop else ResizeMode.STRETCH
        return resize_image(image, *extras.size(*image.size), mode, UPSCALERS[name])
    return enlarge(image, extras.upscaling_resize, UPSCALERS[name])


def _describe(extras: Extras) -> dict[str, str]:
    if extras.resize_mode != SCALE_TO:
        return {"Postprocess upscale by": f"{extras.upscaling_resize:g}"}
    size = f"{extras.upscaling_resize_w}x{extras.upscaling_resize_h}"
    return {"Postprocess upscale to": size} | ({"Postprocess crop to": size} if extras.upscaling_crop else {})
