"""Where on a node a file of the server lies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path, PurePath

from modules.catalogue import Folders


def place_of(path: PurePath) -> str:
    """An absolute path as one below any folder: "/home/me/x.pt" is "home/me/x.pt", and "C:\\\\x.pt" is "C/x.pt"."""
    drive = [part for part in path.drive.replace(":", "").replace("\\", "/").split("/") if part]
    return "/".join((*drive, *path.parts[1:]))


def moved(folders: Folders, move: Callable[[Path], Path]) -> Folders:
    """The folders with each of their paths as `move` gives it."""
    return replace(folders, **{field.name: _moved(getattr(folders, field.name), move) for field in fields(folders)})


def _moved(value: object, move: Callable[[Path], Path]) -> object:
    if isinstance(value, tuple):
        return tuple(move(path) for path in value)
    return move(value) if isinstance(value, Path) else value
