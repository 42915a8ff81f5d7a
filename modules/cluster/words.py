"""What an actor tells its relay; on both sides the same code, so plain values will do."""

from __future__ import annotations

from dataclasses import dataclass

from .manifest import Item


@dataclass(frozen=True, slots=True)
class Spoken:
    """A message of the engine, as the frame that carries it."""

    frame: bytes


@dataclass(frozen=True, slots=True)
class Made:
    """A picture: the frame of its PictureSaved, its file's bytes and ending, and whether it is to be kept."""

    frame: bytes
    data: bytes
    suffix: str
    is_kept: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """Files whose contents the engine waits for, and the number of its Need."""

    number: int
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Ended:
    """The engine is gone: how, in words that follow "the worker process", and what it printed last."""

    code: int
    how: str
    printed: tuple[str, ...]


Word = Spoken | Made | Wanted | Ended
