"""A picture that is enlarged and redrawn in tiles: A1111's script SD upscale."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from PIL import Image

from modules.images import Region, decode_picture
from modules.images.tiles import TileGrid, combine, lay_out, split
from modules.images.upscale import upscale_by
from modules.models import Model
from modules.params import TooMuch, check_pixels, scaled_size

from .canvas import Canvas, describe_start
from .pictures import PREVIEW_SIDE, preview_images
from .planning import SEEDS
from .plans import Batch, Stage, Start, Tiles, Wording

NONE = "None"


@dataclass
class Mosaic:
    """The tiles of a picture, each as it is so far: enlarged, then redrawn."""

    grid: TileGrid
    tiles: list[Image.Image]
    shown: Image.Image
    """A small view of the whole picture so far."""
    is_begun: bool = field(default=False, init=False)
    """Whether a tile is redrawn."""

    @classmethod
    def of(cls, picture: Image.Image, tiles: Tiles, stage: Stage) -> Mosaic:
        """The picture enlarged, in tiles of the stage's size. Raises TooMuch where it is beyond the limits."""
        picture = enlarged(picture, tiles)
        grid = lay_out(*picture.size, stage.width, stage.height, tiles.overlap)
        if len(grid) > tiles.limits.max_pictures:
            raise TooMuch(
                f"SD upscale would draw {len(grid)} tiles of {stage.width}x{stage.height}; max_pictures is "
                f"{tiles.limits.max_pictures}. Make width and height larger, or the overlap smaller."
            )
        shown = picture.copy()
        shown.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
        return cls(grid, split(picture, grid), shown)

    def canvases(self, part: Batch, start: Start) -> tuple[Canvas, ...]:
        """The tiles of a batch to start from."""
        tiles = [self.tiles[place] for place in part.indices]
        return tuple(Canvas(tile, colours=tile if start.matches_colours else None) for tile in tiles)

    def take(self, part: Batch, images: Sequence[Image.Image]) -> None:
        """Put the redrawn tiles of a batch in their places."""
        for place, image in zip(part.indices, images, strict=True):
            self.tiles[place] = image
        self.shown = self._with(part, images)
        self.is_begun = True

    def picture(self) -> Image.Image:
        """The whole picture so far."""
        return combine(self.tiles, self.grid)

    def preview(self, part: Batch, model: Model, latents: torch.Tensor) -> Image.Image:
        """A small view of the whole picture, with what (B, 4, h, w) latents of a batch's tiles may become in it."""
        return self._with(part, preview_images(model, latents))

    def _with(self, part: Batch, images: Sequence[Image.Image]) -> Image.Image:
        """The small view with other tiles in it."""
        view, regions = self.shown.copy(), self.grid.regions
        across, upright = view.width / self.grid.width, view.height / self.grid.height
        for place, image in zip(part.indices, images, strict=True):
            left, top, right, bottom = regions[place]
            box = Region(round(left * across), round(top * upright), round(right * across), round(bottom * upright))
            small = image.resize((max(box.width, 1), max(box.height, 1)), Image.Resampling.BILINEAR)
            view.paste(small, box[:2])
        return view


def read_start(batch: Batch, start: Start, read: Callable[[str], bytes]) -> Image.Image:
    """The RGB picture that the one of a batch starts from. Raises BadPicture."""
    (name,) = batch.inits
    assert name is not None  # checked with the request
    return decode_picture(read(name), start.background)


def enlarged(picture: Image.Image, tiles: Tiles) -> Image.Image:
    """The picture as its upscaler enlarges it. Raises TooMuch or BadRequest where it would become too large."""
    size = picture.size if tiles.upscaler == NONE else scaled_size(*picture.size, tiles.scale)
    check_pixels(*size, tiles.limits)
    return upscale_by(picture, tiles.scale, tiles.upscaler)


def tile_batches(batch: Batch, tiles: Tiles, count: int) -> tuple[Batch, ...]:
    """The tiles of a batch's one picture, made together as the plan says; `indices` are their places.

    Each has a seed of its own, from the picture's on, so that the picture is the same however many are made together.
    A1111 has these seeds with a batch size of 1; with a larger one, it begins each batch one seed after the last.
    """
    return tuple(
        _tile_batch(batch, range(start, min(start + tiles.together, count)))
        for start in range(0, count, tiles.together)
    )


def _tile_batch(batch: Batch, places: range) -> Batch:
    (seed,), (subseed,), (init,) = batch.seeds, batch.subseeds, batch.inits
    count = len(places)
    return Batch(
        indices=tuple(places),
        seeds=tuple((seed + place) % SEEDS for place in places),
        subseeds=(subseed,) * count,
        inits=(init,) * count,
        first=_repeated(batch.first, count),
    )


def _repeated(wording: Wording, count: int) -> Wording:
    """What one picture is told, for each of several."""
    return replace(wording, prompts=wording.prompts * count, negatives=wording.negatives * count)


def describe_tiles(tiles: Tiles, start: Start) -> dict[str, str]:
    """What an infotext says of the tiles: A1111's keys, and one of ours for the scale, which it leaves out."""
    return {
        "SD upscale overlap": str(tiles.overlap),
        "SD upscale upscaler": tiles.upscaler,
        "SD upscale scale": f"{tiles.scale:g}",
        **describe_start(start),
    }
