"""Pictures of named things and drawn shapes on coloured grounds, as values and as pixels."""

from dataclasses import dataclass
from functools import cache, lru_cache
from math import cos, pi, sin
from pathlib import Path
from types import MappingProxyType
from zlib import crc32

from PIL import Image, ImageDraw, ImageFont, ImageOps

from modules.training.things import THINGS

CANVAS = 128  # px, the model's native width and height
CELL = 8  # px of picture for one latent pixel; everything stands on this grid
GLYPH_SIZE = 109  # px, the only size that Noto Color Emoji's bitmaps have
FONT_FILE = "NotoColorEmoji.ttf"
FONT_FOLDERS = (Path("/usr/share/fonts/truetype/noto"), Path("/usr/share/fonts/noto"), Path("/Library/Fonts"))

COLOURS = MappingProxyType(
    {
        "white": (255, 255, 255),
        "blue": (40, 90, 210),
        "yellow": (250, 215, 50),
        "black": (18, 18, 18),
        "green": (40, 160, 70),
        "red": (214, 40, 40),
        "pink": (250, 160, 195),
        "gray": (140, 140, 140),
        "purple": (125, 60, 170),
        "orange": (245, 140, 20),
        "cyan": (60, 205, 215),
        "brown": (125, 80, 45),
    }
)
SHAPES = ("circle", "square", "star", "heart", "triangle", "diamond", "cross", "hexagon", "ring", "arrow")


@dataclass(frozen=True, slots=True)
class Item:
    """One thing, or one coloured shape, in a square of `size` px whose upper left corner is at (x, y) px."""

    name: str
    size: int
    x: int
    y: int
    colour: str | None = None
    mirrored: bool = False


@dataclass(frozen=True, slots=True)
class Scene:
    """Items on a ground of one named colour."""

    items: tuple[Item, ...]
    ground: str


def is_held_out(name: str, ground: str) -> bool:
    """Whether this thing never appears on this ground in training, so that combining can be measured."""
    return crc32(f"{name} on {ground}".encode()) % 16 == 0


def find_font() -> Path:
    """Return where Noto Color Emoji is installed."""
    for folder in FONT_FOLDERS:
        if (folder / FONT_FILE).is_file():
            return folder / FONT_FILE
    raise FileNotFoundError(
        f"{FONT_FILE} was not found in {', '.join(map(str, FONT_FOLDERS))}. Install fonts-noto-color-emoji."
    )


@lru_cache(maxsize=1)
def _font() -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(find_font()), GLYPH_SIZE)


@cache
def draw_emoji(character: str) -> Image.Image:
    """Draw one emoji as a square RGBA picture without margins."""
    sheet = Image.new("RGBA", (GLYPH_SIZE * 2, GLYPH_SIZE * 2))
    ImageDraw.Draw(sheet).text((20, 20), character, font=_font(), embedded_color=True)
    glyph = sheet.crop(sheet.getbbox())
    return ImageOps.pad(glyph, (max(glyph.size),) * 2, color=(0, 0, 0, 0))


def _regular(points: int, inner: float = 1.0, turn: float = -0.5) -> list[tuple[float, float]]:
    """Return a star (or, with inner 1, a polygon) inside the unit square; `turn` is in half circles."""
    corners = points if inner == 1.0 else points * 2
    radii = [0.5 if corner % 2 == 0 or inner == 1.0 else 0.5 * inner for corner in range(corners)]
    angles = [pi * (turn + 2 * corner / corners) for corner in range(corners)]
    return [(0.5 + r * cos(a), 0.5 + r * sin(a)) for r, a in zip(radii, angles, strict=True)]


_heart_curve = [
    (0.5 + 0.031 * 16 * sin(t) ** 3, 0.46 - 0.031 * (13 * cos(t) - 5 * cos(2 * t) - 2 * cos(3 * t) - cos(4 * t)))
    for t in (pi * step / 30 for step in range(60))
]

_OUTLINES = MappingProxyType(
    {
        "square": [(0.06, 0.06), (0.94, 0.06), (0.94, 0.94), (0.06, 0.94)],
        "star": _regular(5, inner=0.42),
        "heart": _heart_curve,
        "triangle": [(0.5, 0.04), (1.0, 0.94), (0.0, 0.94)],
        "diamond": [(0.5, 0.0), (0.88, 0.5), (0.5, 1.0), (0.12, 0.5)],
        "cross": [
            (0.34, 0), (0.66, 0), (0.66, 0.34), (1, 0.34), (1, 0.66), (0.66, 0.66),
            (0.66, 1), (0.34, 1), (0.34, 0.66), (0, 0.66), (0, 0.34), (0.34, 0.34),
        ],
        "hexagon": _regular(6, turn=0.0),
        "arrow": [(0, 0.34), (0.52, 0.34), (0.52, 0.08), (1, 0.5), (0.52, 0.92), (0.52, 0.66), (0, 0.66)],
    }
)  # fmt: skip


def draw_shape(shape: str, colour: str, size: int) -> Image.Image:
    """Draw a shape as a square RGBA picture of `size` px."""
    scale = size * 4
    mask = Image.new("L", (scale, scale))
    pen = ImageDraw.Draw(mask)
    if shape in ("circle", "ring"):
        pen.ellipse((0, 0, scale - 1, scale - 1), fill=255)
    else:
        pen.polygon([(x * scale, y * scale) for x, y in _OUTLINES[shape]], fill=255)
    if shape == "ring":
        pen.ellipse((scale * 0.26, scale * 0.26, scale * 0.74, scale * 0.74), fill=0)
    picture = Image.new("RGBA", (size, size), COLOURS[colour])
    picture.putalpha(mask.resize((size, size), Image.Resampling.LANCZOS))
    return picture


@lru_cache(maxsize=4096)
def draw_item(name: str, colour: str | None, size: int, mirrored: bool) -> Image.Image:
    """Draw a thing (colour None) or a shape as a square RGBA picture of `size` px."""
    if colour is not None:
        picture = draw_shape(name, colour, size)
    else:
        picture = draw_emoji(THINGS.get(name, name)).resize((size, size), Image.Resampling.LANCZOS)
    return ImageOps.mirror(picture) if mirrored else picture


def draw_scene(scene: Scene, size: int = CANVAS) -> Image.Image:
    """Draw a scene as an RGB picture of `size` px in width and height."""
    picture = Image.new("RGB", (size, size), COLOURS[scene.ground])
    for item in scene.items:
        drawn = draw_item(item.name, item.colour, item.size, item.mirrored)
        picture.paste(drawn, (item.x, item.y), drawn)
    return picture
