"""Pictures on their way into the model and out of it."""

from __future__ import annotations

import io
import math

import numpy as np
import torch
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError

from modules.models import Model, preview
from modules.params import BadRequest

JUST_RESIZE, CROP, FILL = 0, 1, 2
LANCZOS = Image.Resampling.LANCZOS
GRID = 8  # pixels of one latent
PREVIEW_SIDE = 512


def read_picture(data: bytes, background: str) -> Image.Image:
    """An RGB picture, upright as its EXIF says, over `background` where it is transparent. Raises BadRequest."""
    try:
        with Image.open(io.BytesIO(data)) as opened:
            picture = ImageOps.exif_transpose(opened)
            if not picture.has_transparency_data:
                return picture.convert("RGB")
            picture = picture.convert("RGBA")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadRequest(f"The picture to start from cannot be read ({error}). Give a PNG, JPEG or WebP.") from error
    return Image.alpha_composite(Image.new("RGBA", picture.size, _colour(background)), picture).convert("RGB")


def fit(picture: Image.Image, width: int, height: int, mode: int) -> Image.Image:
    """The picture at width x height: stretched (0), cropped (1), or whole with its edges drawn out around it (2)."""
    if mode == JUST_RESIZE:
        return picture.resize((width, height), LANCZOS)
    is_wider = width * picture.height > picture.width * height  # the canvas, than the picture
    by_width = is_wider if mode == CROP else not is_wider
    if by_width:
        size = (width, picture.height * width // picture.width)
    else:
        size = (picture.width * height // picture.height, height)
    resized = picture.resize((max(size[0], 1), max(size[1], 1)), LANCZOS)
    left, top = width // 2 - resized.width // 2, height // 2 - resized.height // 2
    canvas = Image.new("RGB", (width, height))
    canvas.paste(resized, (left, top))
    if mode == FILL:
        _draw_out(canvas, resized, left, top)
    return canvas


def to_pixels(picture: Image.Image) -> torch.Tensor:
    """(1, 3, H, W) float32 in [0, 1] of an RGB picture."""
    return torch.from_numpy(np.array(picture, dtype=np.float32)).movedim(-1, 0)[None] / 255


def to_image(pixels: torch.Tensor) -> Image.Image:
    """The picture of (3, H, W) pixels in [0, 1]; cut to 8 bits, not rounded, as A1111 does."""
    return Image.fromarray((pixels * 255).to(torch.uint8).movedim(0, -1).cpu().numpy())


def preview_image(model: Model, latents: torch.Tensor) -> Image.Image:
    """One small picture of what (B, 4, h, w) latents may become, those of a batch side by side."""
    views = preview(model, latents).numpy()  # (B, h, w, 3)
    columns = math.ceil(math.sqrt(len(views)))
    rows = math.ceil(len(views) / columns)
    height, width = views.shape[1:3]
    padded = np.concatenate([views, np.zeros_like(views, shape=(rows * columns - len(views), height, width, 3))])
    tiles = padded.reshape(rows, columns, height, width, 3).swapaxes(1, 2)  # (rows, h, columns, w, 3)
    grid = Image.fromarray(tiles.reshape(rows * height, columns * width, 3))
    scale = max(min(PREVIEW_SIDE // max(grid.size), GRID), 1)
    return grid.resize((grid.width * scale, grid.height * scale), Image.Resampling.BICUBIC)


def _draw_out(canvas: Image.Image, middle: Image.Image, left: int, top: int) -> None:
    """Stretch the outermost lines of `middle`, which lies at (left, top), to the edges of the canvas."""
    width, height = middle.size
    right, below = canvas.width - left - width, canvas.height - top - height
    if top > 0:
        canvas.paste(middle.resize((width, top), box=(0, 0, width, 0)), (left, 0))
    if below > 0:
        canvas.paste(middle.resize((width, below), box=(0, height, width, height)), (left, top + height))
    if left > 0:
        canvas.paste(middle.resize((left, height), box=(0, 0, 0, height)), (0, top))
    if right > 0:
        canvas.paste(middle.resize((right, height), box=(width, 0, width, height)), (left + width, top))


def _colour(name: str) -> tuple[int, int, int]:
    try:
        return ImageColor.getrgb(name)[:3]
    except ValueError as error:
        raise BadRequest(f'The background "{name}" is no colour. Give one like "#ffffff".') from error
