"""Which thing on which ground a picture shows: the nearest of all of them at a quarter of the size."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Self

import torch
from PIL import Image, ImageOps
from torch.nn import functional as F

from modules.training.captions import SINGLE_SIZES
from modules.training.scenes import CANVAS, CELL, COLOURS

SHRINK = 4
SIDE = CANVAS // SHRINK  # px of the compared pictures
MOVES = tuple(product((-1, 0, 1), repeat=2))  # cells: where single things stand about the middle


@dataclass(frozen=True, slots=True)
class Match:
    """The nearest reference, and its mean squared distance (pixels in [0, 1])."""

    thing: str
    ground: str
    distance: float


def shrink(pictures: torch.Tensor) -> torch.Tensor:
    """Average (N, 3, 128, 128) down to (N, 3, 32, 32)."""
    return F.avg_pool2d(pictures, SHRINK)


def list_placings(sprite: Image.Image) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield colour (3, 32, 32) and opacity (1, 32, 32) of a thing in every size, mirror and place."""
    for size, mirrored, (down, across) in product(sorted(set(SINGLE_SIZES)), (False, True), MOVES):
        side = size // SHRINK
        drawn = ImageOps.mirror(sprite) if mirrored else sprite
        # Premultiplied, so that shrinking does not mix in the colour of transparent pixels
        drawn = drawn.convert("RGBa").resize((side, side), Image.Resampling.BOX)
        corner = (CANVAS - size) // 2 // CELL
        canvas = Image.new("RGBa", (SIDE, SIDE))
        canvas.paste(drawn, ((corner + across) * CELL // SHRINK, (corner + down) * CELL // SHRINK))
        values = torch.frombuffer(bytearray(canvas.tobytes()), dtype=torch.uint8).view(SIDE, SIDE, 4)
        values = values.permute(2, 0, 1).float() / 255
        yield values[:3], values[3:]


@dataclass(frozen=True, eq=False)
class Placings:
    """Every thing in every size, mirror and place, to compare pictures with."""

    names: tuple[str, ...]
    colours: torch.Tensor
    """(P, 3, 32, 32), premultiplied."""
    clear: torch.Tensor
    """(P, 1, 32, 32): how much of the ground shows through."""

    @classmethod
    def of(cls, sprites: Mapping[str, Image.Image]) -> Self:
        """Those of square RGBA sprites."""
        layers = [(name, *layer) for name, sprite in sprites.items() for layer in list_placings(sprite)]
        names, colours, opacities = zip(*layers, strict=True)
        return cls(names, torch.stack(colours), 1.0 - torch.stack(opacities))


def find_nearest(pictures: torch.Tensor, placings: Placings) -> list[Match]:
    """Match pictures (N, 3, 128, 128) in [0, 1] with every placing on every ground."""
    small = shrink(pictures).flatten(1)  # (N, 3072)
    best = [Match("", "", float("inf"))] * len(small)
    for ground, rgb in COLOURS.items():
        references = (placings.colours + placings.clear * (torch.tensor(rgb) / 255).view(1, 3, 1, 1)).flatten(1)
        distances = torch.cdist(small, references).square() / small.shape[1]
        for row, (distance, place) in enumerate(zip(*distances.min(1), strict=True)):
            if distance < best[row].distance:
                best[row] = Match(placings.names[place], ground, float(distance))
    return best


def cut_sprites(sheet: Image.Image, names: Sequence[str], columns: int = 16) -> dict[str, Image.Image]:
    """Cut a sheet of square RGBA sprites, `columns` in a row, in the order of `names`."""
    side = sheet.width // columns
    boxes = [(i % columns * side, i // columns * side) for i in range(len(names))]
    return {name: sheet.crop((x, y, x + side, y + side)) for name, (x, y) in zip(names, boxes, strict=True)}
