"""Walking the folders: which files there are, and what lies beside them. No file is opened here."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from .entries import Entry, Kind
from .natural import natural_key
from .picture_embeddings import IMAGE_SUFFIXES

SUFFIXES: Mapping[Kind, frozenset[str]] = MappingProxyType(
    {
        "checkpoint": frozenset({".safetensors", ".ckpt"}),
        "vae": frozenset({".safetensors", ".ckpt", ".pt"}),
        "lora": frozenset({".safetensors", ".ckpt", ".pt"}),
        "hypernetwork": frozenset({".pt", ".safetensors"}),
        "embedding": frozenset({".safetensors", ".pt", ".bin"}) | IMAGE_SUFFIXES,
    }
)
PREVIEW_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".avif")
SIDECAR_ENDINGS = (".json", ".txt", ".description.txt")
CONFIGURATION = ".yaml"
"""The training configuration beside a checkpoint, which goes before what its tensors show (D014)."""

_PREVIEW_ENDINGS = tuple(ending for suffix in PREVIEW_SUFFIXES for ending in (suffix, f".preview{suffix}"))
_VAE_ENDINGS = tuple(f".vae{suffix}" for suffix in SUFFIXES["vae"])
_DIFFUSERS_MARK = "model_index.json"
_WEIGHTS = (".safetensors", ".bin")


class Stamp(NamedTuple):
    """A file and the two figures that change when its contents do; compare with !=, never with <."""

    path: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Found:
    """A file of the kind looked for, and its companions: a preview picture and sidecars (D060, D061)."""

    stamp: Stamp
    root: Path
    relative: str
    created_ns: int
    preview: Stamp | None
    sidecars: tuple[Stamp, ...]

    @property
    def hidden(self) -> bool:
        """Whether it lies in a folder, or has a name, that begins with a dot."""
        return any(part.startswith(".") for part in self.relative.split("/"))


def scan(kind: Kind, roots: Iterable[Path], vae_neighbours: Iterable[Path] = ()) -> list[Found]:
    """The files of the kind below the roots, in natural order of their relative paths.

    Links are followed, and each folder is visited once however many links lead there. A file with the same relative
    path in an earlier root hides a later one, so that a user's own file replaces a shipped one. Empty files, folders
    that may not be read and roots that do not exist are passed over. For VAEs, `vae_neighbours` are the checkpoints'
    folders, where only `*.vae.*` counts. A root may be a file, which then is one of its kind.
    """
    wanted = _is_no_vae if kind == "checkpoint" else _is_any
    found: dict[str, Found] = {}
    for places, test in ((roots, wanted), (vae_neighbours, _is_vae)):
        visited: set[str] = set()
        for root in places:
            for item in _alone(kind, root, test) if root.is_file() else _below(kind, root, test, visited):
                found.setdefault(item.relative, item)
    return sorted(found.values(), key=lambda item: natural_key(item.relative))


def _below(kind: Kind, root: Path, wanted: Callable[[str], bool], visited: set[str]) -> Iterator[Found]:
    for listing in _walk(root, visited):
        yield from _files(kind, root, listing, wanted)


def _alone(kind: Kind, file: Path, wanted: Callable[[str], bool]) -> Iterator[Found]:
    """The file, with the companions beside it."""
    files, _ = _list(str(file.parent))
    return _files(kind, file.parent, _Listing("", files, ()), lambda name: name == file.name and wanted(name))


def folder_times(roots: Iterable[Path]) -> dict[str, int]:
    """When a file last came to or went from each folder below the roots; folders that cannot be read are left out."""
    times: dict[str, int] = {}
    visited: set[str] = set()
    for root in roots:
        for listing in _walk(root, visited):
            place = os.path.join(root, listing.prefix)
            with suppress(OSError):
                times[place] = os.stat(place).st_mtime_ns
    return times


def _is_any(name: str) -> bool:
    return True


def _is_vae(name: str) -> bool:
    return name.lower().endswith(_VAE_ENDINGS)


def _is_no_vae(name: str) -> bool:
    return not _is_vae(name)


def stamp(path: str | Path) -> Stamp | None:
    """The stamp of a file, or of a folder in diffusers' layout; None if it is gone."""
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            return _folder_stamp(Path(path))
    except OSError:
        return None
    return Stamp(str(path), status.st_size, status.st_mtime_ns)


def stamp_of(entry: Entry) -> Stamp:
    """The stamp that the entry's file had when the entry was made."""
    return Stamp(str(entry.path), entry.size, entry.mtime_ns)


@dataclass(frozen=True, slots=True)
class _Listing:
    """One folder: its place below the root ("" or "a/b/"), and its files and model folders by name."""

    prefix: str
    files: Mapping[str, os.DirEntry[str]]
    model_folders: tuple[str, ...]


def _walk(root: Path, visited: set[str]) -> Iterator[_Listing]:
    """Every folder below the root that has not been visited, parents first."""
    waiting = [(str(root), "")]
    while waiting:
        folder, prefix = waiting.pop()
        real = os.path.realpath(folder)
        if real in visited:
            continue
        visited.add(real)
        files, subfolders = _list(folder)
        models = tuple(name for name in subfolders if os.path.isfile(os.path.join(folder, name, _DIFFUSERS_MARK)))
        yield _Listing(prefix, files, models)
        deeper = [name for name in subfolders if name not in models and _is_nameable(name)]
        waiting += [
            (os.path.join(folder, name), f"{prefix}{name}/") for name in sorted(deeper, key=natural_key, reverse=True)
        ]


def _list(folder: str) -> tuple[dict[str, os.DirEntry[str]], list[str]]:
    """The files and the sub-folders of a folder; none of either if it cannot be read."""
    files: dict[str, os.DirEntry[str]] = {}
    subfolders: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if _is_folder(entry):
                    subfolders.append(entry.name)
                else:
                    files[entry.name] = entry
    except OSError:
        return {}, []
    return files, subfolders


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether the entry leads to a folder; one that leads to itself does not, and does not hide its neighbours."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _files(kind: Kind, root: Path, listing: _Listing, wanted: Callable[[str], bool]) -> Iterator[Found]:
    """The files of the kind in one folder."""
    beside = {name.lower(): entry for name, entry in sorted(listing.files.items(), reverse=True)}
    for name, entry in listing.files.items():
        stem, suffix = os.path.splitext(name)
        if suffix.lower() not in SUFFIXES[kind] or not wanted(name) or not _is_nameable(name):
            continue
        if kind == "embedding" and _is_preview(stem.lower(), suffix.lower(), beside):
            continue
        status = _status(entry)
        if status is None or status.st_size == 0:
            continue
        yield Found(
            stamp=Stamp(entry.path, status.st_size, status.st_mtime_ns),
            root=root,
            relative=f"{listing.prefix}{name}",
            created_ns=_created_ns(status),
            preview=_first(beside, stem, _PREVIEW_ENDINGS),
            sidecars=_all(beside, stem, (*SIDECAR_ENDINGS, *((CONFIGURATION,) if kind == "checkpoint" else ()))),
        )
    if kind == "checkpoint":
        yield from _model_folders(root, listing)


def _is_preview(stem: str, suffix: str, beside: Mapping[str, os.DirEntry[str]]) -> bool:
    """Whether a picture is that of an embedding beside it (D060), rather than one itself."""
    if suffix not in IMAGE_SUFFIXES:
        return False
    return stem.endswith(".preview") or any(stem + each in beside for each in SUFFIXES["embedding"] - IMAGE_SUFFIXES)


def _is_nameable(name: str) -> bool:
    """Whether the name is text, and not the shadow ("._name") that macOS writes beside files on foreign disks."""
    is_text = name.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in name)
    return is_text and not name.startswith("._")


def _model_folders(root: Path, listing: _Listing) -> Iterator[Found]:
    """The folders in diffusers' layout within one folder; each is a checkpoint."""
    for name in filter(_is_nameable, listing.model_folders):
        relative = f"{listing.prefix}{name}"
        stamped = stamp(root / relative)
        if stamped is not None:
            yield Found(stamped, root, relative, stamped.mtime_ns, None, ())


def _folder_stamp(folder: Path) -> Stamp:
    """The stamp of a folder in diffusers' layout: the sum of its weights' sizes and their latest mtime."""
    weights = [path.stat() for path in sorted(folder.glob("*/*")) if path.suffix in _WEIGHTS]
    marks = [status.st_mtime_ns for status in (*weights, folder.stat())]
    return Stamp(str(folder), sum(status.st_size for status in weights), max(marks))


def _first(beside: Mapping[str, os.DirEntry[str]], stem: str, endings: Iterable[str]) -> Stamp | None:
    """The stamp of the first companion that is there."""
    lower = stem.lower()
    for ending in endings:
        entry = beside.get(lower + ending)
        status = _status(entry) if entry else None
        if entry and status:
            return Stamp(entry.path, status.st_size, status.st_mtime_ns)
    return None


def _all(beside: Mapping[str, os.DirEntry[str]], stem: str, endings: Iterable[str]) -> tuple[Stamp, ...]:
    """The stamps of every companion that is there."""
    found = (_first(beside, stem, (ending,)) for ending in endings)
    return tuple(companion for companion in found if companion is not None)


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    """The status of the file the entry leads to; None for a broken link, and for a pipe or device: it has no end."""
    try:
        status = entry.stat()
    except OSError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def _created_ns(status: os.stat_result) -> int:
    """When the file came to be, as nearly as the system remembers."""
    return getattr(status, "st_birthtime_ns", None) or status.st_ctime_ns
