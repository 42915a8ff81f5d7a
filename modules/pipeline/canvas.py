"""A picture to start from and its mask, fitted to the size that is drawn at, and the way back to a whole picture."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Literal

from PIL import Image, ImageOps

from modules.images import BadPicture, Region, ResizeMode, decode_picture, expand_region, masked_region, resize_image
from modules.images.colours import match_colours
from modules.images.masks import (
    blur_mask,
    cut_out,
    decode_mask,
    fill_masked,
    lay_over,
    mask_composite,
    place_in,
    spread_mask,
)
from modules.params.groups import FILLS

from .named import Tell
from .plans import Fill, Inpaint, Soft, Start

LATENT_RESIZE = 3
"""The resize mode that stretches latents instead of pixels."""

SMALLEST_ENCODED, LARGEST_ENCODED = 8, 4096 * 4096
"""Least side, and most pixels, of a picture that goes through the VAE at its own size."""


@dataclass(frozen=True, eq=False)
class Canvas:
    """What is drawn on. `picture` is RGB, the masks are "L"; all that is None is not needed."""

    picture: Image.Image
    """In the size that is drawn at; in its own where latents are to be stretched."""
    mask: Image.Image | None = None
    """What is made anew, in the size that is drawn at."""
    cover: Image.Image | None = None
    """The mask as it lies over the result, in the result's size."""
    overlay: Image.Image | None = None
    """ "RGBA": what stays of the part that is drawn, and is laid over it."""
    kept: Image.Image | None = None
    """The whole of the part that is drawn, as it was, in the overlay's size; only with a mask."""
    region: Region | None = None
    """Where in `original` that part is; None is everywhere."""
    original: Image.Image | None = None
    """The whole picture that a part goes back into."""
    colours: Image.Image | None = None
    """The picture whose colours the result gets."""


@dataclass(frozen=True, eq=False)
class Finished:
    """A result with what the person asked to see beside it."""

    image: Image.Image
    beside: tuple[tuple[Literal["mask", "composite"], Image.Image], ...] = ()


def read_canvas(data: bytes, mask: bytes | None, start: Start, width: int, height: int, tell: Tell) -> Canvas:
    """The canvas of a picture's file and, to inpaint, a mask's. Raises BadPicture."""
    picture = decode_picture(data, start.background)
    if mask is None or start.inpaint is None:
        return _whole(picture, start, width, height)
    marked = decode_mask(mask, is_round=start.inpaint.is_round)
    return prepare(
        picture, ImageOps.invert(marked) if start.inpaint.is_inverted else marked, start, width, height, tell
    )


def prepare(picture: Image.Image, marked: Image.Image, start: Start, width: int, height: int, tell: Tell) -> Canvas:
    """The canvas of width x height for what the "L" mask marks in the picture; what is odd about the mask is told."""
    inpaint = start.inpaint
    assert inpaint is not None
    if inpaint.padding is None:
        return _masked(picture, blur_mask(marked, *inpaint.blur), start, inpaint, width, height)
    if marked.size != picture.size:
        tell(
            f"The mask has {marked.width}x{marked.height} pixels, the picture {picture.width}x{picture.height}: "
            "the mask is stretched over the picture."
        )
        marked = marked.resize(picture.size, Image.Resampling.BILINEAR)  # sharper filters mark pixels far outside
    marked = blur_mask(marked, *inpaint.blur)
    region = masked_region(marked, inpaint.padding)
    if region is None:
        tell("Only masked: the mask is empty, so the whole picture is made anew. Paint over what is to change.")
        return _whole(picture, start, width, height)
    region = expand_region(region, width, height, *picture.size)
    return _part(picture, marked, region, start, inpaint, width, height)


def finish(image: Image.Image, canvas: Canvas, inpaint: Inpaint | None) -> Finished:
    """The decoded picture in its final colours and place, under what stays of the original."""
    if canvas.colours is not None:
        image = match_colours(image, canvas.colours)
    drawn = image
    if canvas.overlay is not None:
        image = _put_back(image, canvas)
    if canvas.cover is None or inpaint is None:
        return Finished(image)
    beside: list[tuple[Literal["mask", "composite"], Image.Image]] = []
    if inpaint.shows_mask:
        beside.append(("mask", canvas.cover.convert("RGB")))
    if inpaint.shows_composite:
        if canvas.overlay is not None and canvas.region is not None:
            drawn = place_in(drawn, canvas.cover.size, canvas.region)
        beside.append(("composite", mask_composite(drawn, canvas.cover)))
    return Finished(image, tuple(beside))


def under(canvas: Canvas, new: Image.Image, inpaint: Inpaint) -> Canvas:
    """The canvas with another mask, "L" in the size that is drawn at, of what of its picture is shown anew."""
    if canvas.kept is None:
        return canvas
    if canvas.region is None or canvas.original is None:
        cover = fitted = new
    else:
        fitted = resize_image(new, canvas.region.width, canvas.region.height, ResizeMode.CROP)
        cover = Image.new("L", canvas.original.size)
        cover.paste(fitted, canvas.region[:2])
    overlay = cut_out(canvas.kept, fitted).convert("RGBA") if inpaint.overlays else None
    return replace(canvas, cover=cover, overlay=overlay)


def _put_back(image: Image.Image, canvas: Canvas) -> Image.Image:
    """The drawn picture under what stays of the original; a part of it in its place in the whole."""
    assert canvas.overlay is not None
    if canvas.region is None or canvas.original is None:
        return lay_over(image, canvas.overlay)
    part = resize_image(image, canvas.region.width, canvas.region.height, ResizeMode.CROP)
    whole = canvas.original.copy()
    whole.paste(lay_over(part, canvas.overlay), canvas.region)
    return whole


def _whole(picture: Image.Image, start: Start, width: int, height: int) -> Canvas:
    if start.resize_mode == LATENT_RESIZE:
        fitted = _encodable(picture)
    else:
        fitted = resize_image(picture, width, height, start.resize_mode)
    return Canvas(fitted, colours=fitted if start.matches_colours else None)


def _masked(
    picture: Image.Image, marked: Image.Image, start: Start, inpaint: Inpaint, width: int, height: int
) -> Canvas:
    """The whole picture, of which the marked part is made anew."""
    latently = start.resize_mode == LATENT_RESIZE
    # what is stretched as latents has to lie under a mask and an overlay that are stretched alike
    mode = ResizeMode.STRETCH if latently else start.resize_mode
    mask = resize_image(marked, width, height, mode)
    fitted = resize_image(picture, width, height, mode)
    cover = spread_mask(mask)
    drawn = _encodable(picture) if latently else fitted
    if inpaint.fill is not Fill.ORIGINAL:
        drawn = fill_masked(drawn, resize_image(mask, *drawn.size))
    return Canvas(
        picture=drawn,
        mask=mask,
        cover=cover,
        overlay=cut_out(fitted, cover).convert("RGBA") if inpaint.overlays else None,
        kept=fitted,
        colours=drawn if start.matches_colours else None,
    )


def _part(
    picture: Image.Image,
    marked: Image.Image,
    region: Region,
    start: Start,
    inpaint: Inpaint,
    width: int,
    height: int,
) -> Canvas:
    """A region of the picture, drawn at the size asked for and put back at its own; all that is marked lies in it."""
    part, part_marked = picture.crop(region), marked.crop(region)
    mask = resize_image(part_marked, width, height, ResizeMode.FILL)
    drawn = resize_image(part, width, height, ResizeMode.FILL)
    if inpaint.fill is not Fill.ORIGINAL:
        drawn = fill_masked(drawn, mask)
    return Canvas(
        picture=drawn,
        mask=mask,
        cover=marked,
        overlay=cut_out(part, part_marked).convert("RGBA") if inpaint.overlays else None,
        kept=part,
        region=region,
        original=picture,
        colours=drawn if start.matches_colours else None,
    )


def _encodable(picture: Image.Image) -> Image.Image:
    """The picture, at least one latent in size. Raises BadPicture where it is too large to be encoded as it is."""
    if picture.width * picture.height > LARGEST_ENCODED:
        raise BadPicture(
            f"The picture has {picture.width}x{picture.height} pixels, too many to be stretched as latents. "
            "Choose another resize mode, or make the picture smaller."
        )
    return resize_image(picture, max(picture.width, SMALLEST_ENCODED), max(picture.height, SMALLEST_ENCODED))


def describe_start(start: Start, canvas: Canvas | None = None) -> dict[str, str]:
    """What an infotext says of a picture's start beside strength and size, in A1111's keys and order."""
    fields = _describe_mask(start.inpaint, canvas) if start.inpaint is not None and canvas is not None else {}
    if start.noise_multiplier != 1:
        fields["Noise multiplier"] = str(start.noise_multiplier)
    return fields


def _describe_mask(inpaint: Inpaint, canvas: Canvas) -> dict[str, str]:
    fields = {}
    if inpaint.is_inverted:
        fields["Mask mode"] = "Inpaint not masked"
    if inpaint.blur[0] == inpaint.blur[1] > 0:
        fields["Mask blur"] = str(inpaint.blur[0])
    if canvas.region is not None:
        fields["Inpaint area"] = "Only masked"
        fields["Masked area padding"] = str(inpaint.padding)
    if canvas.mask is not None and inpaint.fill is not Fill.ORIGINAL:
        fields["Masked content"] = FILLS[inpaint.fill]
    return fields | _describe_soft(inpaint.soft) if inpaint.soft and canvas.mask is not None else fields


def _describe_soft(soft: Soft) -> dict[str, str]:
    """Every number has a key of its own, which is its name."""
    numbers = {f"Soft inpainting {name.replace('_', ' ')}": f"{value:g}" for name, value in asdict(soft).items()}
    return {"Soft inpainting enabled": "True"} | numbers
