"""How a picture is made from another one: what a request and the settings say of it, decided."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from modules.params import Img2ImgRequest, Settings

DEFAULT_IMAGE_CFG = 1.5


class Fill(IntEnum):
    """What is under the mask before anything is drawn there."""

    AROUND = 0
    """The colours around it."""
    ORIGINAL = 1
    NOISE = 2
    NOTHING = 3


@dataclass(frozen=True)
class Inpaint:
    """Which part of the picture is made anew, and how it is joined to the rest."""

    mask: str
    """The id of a stored picture."""
    blur: tuple[int, int]
    """Across and upright, in pixels."""
    is_round: bool
    """Each latent is inside or outside; without it, edges are soft."""
    is_inverted: bool
    """Everything but what the mask marks is made anew."""
    fill: Fill
    padding: int | None
    """Draw only the marked part at the size asked for, with so many pixels around it; None draws the whole picture."""
    overlays: bool
    """Lay the original over what is not made anew."""
    shows_mask: bool
    shows_composite: bool


@dataclass(frozen=True)
class Start:
    """How a picture is made from another one."""

    resize_mode: int
    background: str
    """The colour that shows through transparent parts."""
    noise_multiplier: float
    matches_colours: bool
    """Give the result the colours of the picture."""
    image_cfg_scale: float
    """How closely an instruct-pix2pix model keeps to the picture."""
    inpaint: Inpaint | None


def choose_start(request: Img2ImgRequest, settings: Settings) -> Start:
    """What the request says of its start, and the settings where it says nothing."""
    multiplier, image_cfg = request.initial_noise_multiplier, request.image_cfg_scale
    return Start(
        resize_mode=request.resize_mode,
        background=settings.img2img_background_color,
        noise_multiplier=settings.initial_noise_multiplier if multiplier is None else multiplier,
        matches_colours=settings.img2img_color_correction,
        image_cfg_scale=DEFAULT_IMAGE_CFG if image_cfg is None else image_cfg,
        inpaint=_inpaint(request, settings) if request.mask else None,
    )


def _inpaint(request: Img2ImgRequest, settings: Settings) -> Inpaint:
    across, upright = request.mask_blur_x, request.mask_blur_y
    return Inpaint(
        mask=request.mask,
        blur=(
            request.mask_blur if across is None else across,
            request.mask_blur if upright is None else upright,
        ),
        is_round=request.mask_round,
        is_inverted=bool(request.inpainting_mask_invert),
        fill=Fill(request.inpainting_fill),
        padding=request.inpaint_full_res_padding if request.inpaint_full_res else None,
        overlays=settings.overlay_inpaint,
        shows_mask=settings.return_mask,
        shows_composite=settings.return_mask_composite,
    )
