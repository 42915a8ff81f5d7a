"""Latents of composed scenes without encoding them: shifted differences from a flat ground."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy
import torch

from modules.training.captions import PAIR_SIZE, SINGLE_SIZES
from modules.training.scenes import CANVAS, CELL, COLOURS, SHAPES, Item, Scene, draw_scene, is_held_out

CELLS = CANVAS // CELL
Key = tuple[str, str | None, int, bool, str]  # name, colour, size, mirrored, ground
Encode = Callable[[numpy.ndarray], torch.Tensor]
"""Pictures (B, H, W, 3) in bytes to scaled mean latents (B, 4, h, w)."""


def home(size: int) -> int:
    """Return the cell at which an item of `size` px stands in its stored difference."""
    return (CANVAS - size) // 2 // CELL


def list_keys(things: tuple[str, ...], *, shapes: bool, held_out: bool = False) -> Iterator[Key]:
    """List every drawn item on every ground, of the training or (with held_out) of the rest."""
    sizes = sorted({*SINGLE_SIZES, PAIR_SIZE}, reverse=True)
    for ground in COLOURS:
        for size in sizes:
            for thing in things:
                if is_held_out(thing, ground) == held_out:
                    yield from ((thing, None, size, mirrored, ground) for mirrored in (False, True))
            for shape in SHAPES if shapes else ():
                if is_held_out(shape, ground) == held_out:
                    yield from ((shape, colour, size, False, ground) for colour in COLOURS if colour != ground)


def draw_key(key: Key) -> numpy.ndarray:
    """Draw an item at home on its ground, (128, 128, 3) bytes."""
    name, colour, size, mirrored, ground = key
    corner = home(size) * CELL
    return numpy.asarray(draw_scene(Scene((Item(name, size, corner, corner, colour, mirrored),), ground)))


def encode_grounds(encode: Encode) -> dict[str, torch.Tensor]:
    """Return the latents (4, 16, 16) of every flat ground."""
    flat = numpy.stack([numpy.asarray(draw_scene(Scene((), ground))) for ground in COLOURS])
    return dict(zip(COLOURS, encode(flat), strict=True))


def encode_keys(keys: list[Key], encode: Encode, batch: int = 16) -> torch.Tensor:
    """Return each item's difference from its flat ground: (N, 4, 16, 16), fp16."""
    grounds = encode_grounds(encode)
    parts = []
    for start in range(0, len(keys), batch):
        chunk = keys[start : start + batch]
        latents = encode(numpy.stack([draw_key(key) for key in chunk]))
        parts.append((latents - torch.stack([grounds[key[-1]] for key in chunk])).half())
    return torch.cat(parts)


@dataclass(frozen=True)
class LatentLibrary:
    """Every item's latents; composes a scene as its ground plus shifted differences."""

    grounds: dict[str, torch.Tensor]
    places: dict[Key, int]
    differences: torch.Tensor

    def compose(self, scene: Scene) -> torch.Tensor:
        """Return a scene's latents (4, 16, 16), fp32. All items must stand on the 8 px grid."""
        latents = self.grounds[scene.ground].clone()
        for item in scene.items:
            place = self.places[item.name, item.colour, item.size, item.mirrored, scene.ground]
            across, down = item.x // CELL - home(item.size), item.y // CELL - home(item.size)
            latents += shift(self.differences[place].float(), across, down)
        return latents


def shift(latents: torch.Tensor, across: int, down: int) -> torch.Tensor:
    """Move (..., H, W) to the right and down by whole cells; zeros come in."""
    moved = torch.zeros_like(latents)
    height, width = latents.shape[-2:]
    into = moved[..., max(down, 0) : height + min(down, 0), max(across, 0) : width + min(across, 0)]
    into.copy_(latents[..., max(-down, 0) : height + min(-down, 0), max(-across, 0) : width + min(-across, 0)])
    return moved
