"""How much a job asks for, against how much one may: the one check that everybody's jobs go through."""

from __future__ import annotations

from collections.abc import Mapping

from .errors import BadRequest
from .requests import Img2ImgRequest, Txt2ImgRequest, is_tiled
from .setting_groups import LimitSettings
from .sizes import hires_size

MEGA = 1_000_000
UNKNOWN_SIDE = 1024
"""Pixels of a side that nobody gave: no family draws larger of itself."""
PROMPTS: Mapping[str, str] = {
    "prompt": "The prompt",
    "negative_prompt": "The negative prompt",
    "hr_prompt": "The hires prompt",
    "hr_negative_prompt": "The hires negative prompt",
}


class TooMuch(BadRequest):
    """A job, or a part of one, beyond a limit of this server; names the limit and how to raise it."""


def check_limits(request: Txt2ImgRequest | Img2ImgRequest, limits: LimitSettings) -> None:
    """Nothing, if the job is within the limits. Raises TooMuch."""
    hires = request if isinstance(request, Txt2ImgRequest) and request.enable_hr else None
    steps = max(request.steps, hires.hr_second_pass_steps if hires else 0)
    _check("max_steps", f"A pass of {steps} steps", steps, limits.max_steps)
    width, height = _largest(request)
    check_pixels(width, height, limits)
    batch = request.batch_size * width * height / MEGA
    what = f"A batch of {request.batch_size} pictures of {width}x{height} ({batch:.1f} megapixels)"
    _check("max_batch_megapixels", what, batch, limits.max_batch_megapixels)
    pictures = request.n_iter if is_tiled(request) else request.batch_size * request.n_iter
    _check("max_pictures", f"A job of {pictures} pictures", pictures, limits.max_pictures)
    for name, title in PROMPTS.items():
        length = len(getattr(request, name, ""))
        _check("max_prompt_length", f"{title}, of {length} characters,", length, limits.max_prompt_length)


def check_pixels(width: int, height: int, limits: LimitSettings) -> None:
    """Nothing, if a picture of this size, in pixels, may be made. Raises TooMuch."""
    pixels = width * height / MEGA
    what = f"A picture of {width}x{height} ({pixels:.1f} megapixels)"
    _check("max_megapixels", what, pixels, limits.max_megapixels)


def _largest(request: Txt2ImgRequest | Img2ImgRequest) -> tuple[int, int]:
    """Width and height of the largest pass. Raises BadRequest where the second one has no possible size."""
    width, height = request.width or UNKNOWN_SIDE, request.height or UNKNOWN_SIDE
    if not (isinstance(request, Txt2ImgRequest) and request.enable_hr):
        return width, height
    size = hires_size(width, height, scale=request.hr_scale, resize_x=request.hr_resize_x, resize_y=request.hr_resize_y)
    return max((width, height), (size.width, size.height), key=lambda sides: sides[0] * sides[1])


def _check(name: str, what: str, asked: float, limit: float) -> None:
    if asked > limit:
        raise TooMuch(
            f"{what} is more than this server makes: {name} is {limit:g}. Ask for less, or have its owner raise "
            f'"{name}" in the options or in config.json.'
        )
