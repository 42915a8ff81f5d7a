"""The catalogue: every file there is, kept up to date, found by any of its names."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

from modules.params import BadFile

from .checkpoints import match_checkpoint
from .entries import KINDS, Entry, Facts, Kind
from .examine import examine, full_metadata
from .folders import Folders
from .hashes import Hashes, legacy_hash
from .index import Index, Known
from .picture_embeddings import IMAGE_SUFFIXES
from .previews import Preview, read_preview
from .scan import SUFFIXES, Found, Stamp, folder_times, scan, stamp, stamp_of
from .shelf import Shelf
from .sidecars import merged, read_sidecar
from .watch import Watch

PATIENCE = 0.5
"""Seconds that listing new files may take before the rest of them is examined in the background."""

PERIOD = 2.0
"""Seconds of examining in the background between two updates of the shelf."""

PAUSE = 0.1
"""Seconds of rest before each period, so that a file being written does not keep a processor busy."""

HASH_PATIENCE = 2.0
"""Seconds that looking for a file by its hash may take."""

Listener = Callable[[Kind], None]


class Catalogue:
    """The files in some folders. Safe to use from several threads; a second process may use the same index.

    A kind is scanned when it is first asked for. Reading never waits for a scan that another thread makes, except
    for that first one. With `is_thorough` False, files are examined only as they are asked for by name, and otherwise
    left to the process that shares the index and has the time. With `computes_hashes` False only those hashes are told
    that the index knows.
    """

    def __init__(
        self, folders: Folders, index: Path | None = None, *, is_thorough: bool = True, computes_hashes: bool = True
    ) -> None:
        self.folders = folders
        self._is_thorough = is_thorough
        self._index = Index(index)
        self._read_sidecars: Known = {}
        self._hashes = Hashes(self._index, self._hashed, computes=computes_hashes)
        self._shelves: dict[Kind, Shelf] = {}
        self._folder_times: dict[Kind, dict[str, int]] = {}
        self._known: dict[Kind, Known] = {}
        self._pending: dict[Kind, list[Stamp]] = {}
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._background: dict[Kind, threading.Thread] = {}
        self._listeners: list[Listener] = []
        self._watch: Watch | None = None

    def close(self) -> None:
        """Stop watching, hashing and examining, and close the index."""
        self._closing.set()
        if self._watch is not None:
            self._watch.close()
        self._hashes.close()
        for thread in list(self._background.values()):
            thread.join()
        self._index.close()

    def __enter__(self) -> Catalogue:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # What there is

    def entries(self, kind: Kind) -> tuple[Entry, ...]:
        """Every entry of the kind, in natural order of their paths."""
        return self._shelf(kind).entries

    def current_entries(self, kind: Kind) -> tuple[Entry, ...]:
        """As `entries`; the kind is scanned once more where a file has come or gone since the last scan (P094)."""
        self._shelf(kind)
        if folder_times(self.folders.of(kind)) != self._folder_times.get(kind):
            self.refresh(kind)
        return self._shelf(kind).entries

    def categories(self, kind: Kind) -> tuple[str, ...]:
        """Every sub-folder with entries of the kind."""
        return self._shelf(kind).categories

    def by_id(self, kind: Kind, entry_id: str) -> Entry | None:
        """The entry with the id."""
        return self._shelf(kind).by_id.get(entry_id)

    def search(
        self,
        kind: Kind,
        text: str = "",
        *,
        sort: str = "path",
        descending: bool = False,
        offset: int = 0,
        limit: int | None = None,
    ) -> tuple[tuple[Entry, ...], int]:
        """A page of the entries in which every word of the text occurs, and the number of all of them.

        `sort` is one of path, name, created, modified, size; raises UnknownName for another.
        """
        return self._shelf(kind).search(text, sort=sort, descending=descending, offset=offset, limit=limit)

    def metadata(self, entry: Entry) -> dict[str, str]:
        """All that the file says of itself; may raise BadFile."""
        return full_metadata(entry.path) or dict(entry.metadata)

    def preview_bytes(self, entry: Entry) -> Preview | None:
        """The picture for the entry's card as (data, media type), in its full size."""
        return read_preview(entry)

    # Finding by name

    def find(self, kind: Kind, name: str) -> Entry | None:
        """The entry that the name means, as the file is at this moment; None if there is none.

        An unknown name, or a file that has changed since, makes the kind's folders be scanned once more.
        """
        return next(iter(self.matches(kind, name)), None)

    def matches(self, kind: Kind, name: str) -> tuple[Entry, ...]:
        """As `find`, with the other files that the name may mean behind the one that it does."""
        return self._looked_up(kind, lambda shelf: shelf.matches(name))

    def find_checkpoint(self, name: str, *, look_again: bool = True) -> Entry | None:
        """The checkpoint with the title, path, name or hash, in whole or in part (D012).

        Without `look_again` it is what is known of it by now, which never waits for the disk.
        """

        def look_up(shelf: Shelf) -> tuple[Entry, ...]:
            found = shelf.matches(name) or match_checkpoint(name, shelf.entries, legacy_hash)
            return found[:1]

        found = self._looked_up("checkpoint", look_up) if look_again else look_up(self._shelf("checkpoint"))
        return next(iter(found), None)

    def usable_checkpoint(self, name: str, *, look_again: bool = True) -> Entry | None:
        """The checkpoint that is in use where the options say `name`: the first good one where it is gone (D017)."""
        found = self.find_checkpoint(name, look_again=look_again) if name else None
        return found or next((entry for entry in self.entries("checkpoint") if not entry.error), None)

    def fixed_vae(self) -> Entry | None:
        """The VAE that the command line sets for every checkpoint (D021). Raises BadFile where its file is gone."""
        path = self.folders.vae_path
        if path is None:
            return None
        place = stamp(path)
        if place is None:
            raise BadFile(path, f"is not in {path.parent}. Give --vae-path a VAE that exists, or leave the flag out.")
        return Entry("vae", path, path.parent, path.name, path.stem, path.stem, place.size, place.mtime_ns)

    def vae_beside(self, checkpoint: Entry) -> Entry | None:
        """The VAE with the checkpoint's exact stem (D021): beside it, else in the VAE folders."""
        names = {checkpoint.name, f"{checkpoint.name}.vae"}
        found = [entry for entry in self.entries("vae") if entry.name in names]
        beside = [entry for entry in found if entry.path.parent == checkpoint.path.parent]
        return next(iter(beside or found), None)

    def _looked_up(self, kind: Kind, look_up: Callable[[Shelf], tuple[Entry, ...]]) -> tuple[Entry, ...]:
        found = look_up(self._shelf(kind))
        if not found or any(stamp(entry.path) != stamp_of(entry) for entry in found):
            self.refresh(kind, patience=None)
            found = look_up(self._shelf(kind))
        return tuple(entry if entry.examined else self._examined(entry) for entry in found)

    # Keeping up to date

    def refresh(self, kind: Kind | None = None, *, patience: float | None = PATIENCE) -> frozenset[Kind]:
        """The kinds, of the one given or all, whose entries are not what they were.

        New files are examined for `patience` seconds; the rest are listed by name and examined in the background. None
        waits until all is known.
        """
        kinds = KINDS if kind is None else (kind,)
        return frozenset(each for each in kinds if self._refresh(each, patience))

    def watch(self, callback: Listener) -> None:
        """Call back, from another thread, with each kind that changed, whenever files come, go or change."""
        self._listeners.append(callback)
        with self._lock:
            if self._watch is None:
                self._watch = Watch(self._watched_folders, self._folders_changed, self._catch_up)

    def _watched_folders(self) -> dict[Kind, tuple[Path, ...]]:
        watched = {kind: self.folders.of(kind) for kind in KINDS}
        watched["vae"] += self.folders.checkpoints
        return watched

    def _folders_changed(self, kinds: frozenset[Kind]) -> None:
        for kind in sorted(kinds):
            if not self._closing.is_set() and self._refresh(kind, PATIENCE):
                self._tell(kind)

    def _catch_up(self) -> None:
        """Tell what has changed unwatched since each kind was scanned."""
        self._folders_changed(frozenset(self._shelves))

    def _tell(self, kind: Kind) -> None:
        if not self._closing.is_set():
            for listener in list(self._listeners):
                listener(kind)

    def _shelf(self, kind: Kind) -> Shelf:
        shelf = self._shelves.get(kind)
        if shelf is None:
            with self._lock:
                if kind not in self._shelves:
                    self._refresh(kind, PATIENCE)
                shelf = self._shelves[kind]
        return shelf

    def _refresh(self, kind: Kind, patience: float | None, news: Known | None = None) -> bool:
        """Whether scanning the kind once more gave other entries than before; `news` are facts found out just now."""
        with self._lock:
            neighbours = self.folders.checkpoints if kind == "vae" else ()
            self._folder_times[kind] = folder_times(self.folders.of(kind))
            found = scan(kind, self.folders.of(kind), neighbours)
            before = self._shelves.get(kind)
            facts = self._facts(kind, [item.stamp for item in found], patience, news or {})
            self._pending[kind] = [item.stamp for item in found if item.stamp not in facts]
            shown = [item for item in found if _is_shown(item, facts.get(item.stamp))]
            sidecars = self._sidecars([place for item in shown for place in item.sidecars])
            hashes = self._index.hashes("sha256")
            shelf = Shelf([_entry(kind, item, facts.get(item.stamp), sidecars, hashes) for item in shown])
            self._shelves[kind] = shelf
            if self._pending[kind] and self._is_thorough:
                self._examine_in_background(kind)
            return before is None or before.entries != shelf.entries

    def _facts(self, kind: Kind, wanted: Sequence[Stamp], patience: float | None, news: Known) -> Known:
        """The facts of the files found: new ones, those known before and in the index, and what patience allows."""
        known = self._known.get(kind, {}) | news
        if any(place not in known for place in wanted):
            known = self._index.facts(kind) | known
        known |= self._examine(kind, [place for place in wanted if place not in known], patience)
        facts = {place: known[place] for place in wanted if place in known}
        self._known[kind] = {place: each for place, each in facts.items() if not each.is_fleeting}
        return facts

    def _sidecars(self, places: Sequence[Stamp]) -> Known:
        """The contents of sidecars, read where they are new."""
        if any(place not in self._read_sidecars for place in places):
            known = self._index.sidecars()
            fresh = {place: read_sidecar(Path(place.path)) for place in places if place not in known}
            self._index.save_sidecars(fresh)
            self._read_sidecars |= known | fresh
        return self._read_sidecars

    def _examine(self, kind: Kind, places: Sequence[Stamp], patience: float | None) -> Known:
        """The facts of as many files as there is patience for."""
        deadline = None if patience is None else time.monotonic() + patience
        examined: Known = {}
        for place in places:
            if self._closing.is_set() or (deadline is not None and time.monotonic() > deadline):
                break
            examined[place] = examine(kind, Path(place.path))
        self._index.save_facts(kind, {place: facts for place, facts in examined.items() if not facts.is_fleeting})
        return examined

    def _examine_in_background(self, kind: Kind) -> None:
        """Have a thread examine what is on the shelf by name only, and show what it finds from time to time."""
        if kind in self._background:
            return

        def work() -> None:
            news: Known = {}
            while not self._closing.wait(PAUSE):
                with self._lock:
                    places = self._pending[kind]
                    if not places:
                        del self._background[kind]
                        return
                news |= self._examine(kind, places, PERIOD)
                if self._refresh(kind, 0, news):
                    self._tell(kind)

        self._background[kind] = threading.Thread(target=work, name=f"catalogue {kind}", daemon=True)
        self._background[kind].start()

    def _examined(self, entry: Entry) -> Entry:
        """The entry with its facts, whatever the background has got to."""
        place = stamp_of(entry)
        facts = self._examine(entry.kind, [place], None)
        return replace(entry, facts=facts.get(place, Facts()), examined=True)

    # Hashes

    def sha256(self, entry: Entry) -> Future[str]:
        """The SHA-256 of the file's contents to come; at once if it is known."""
        return self._hashes.hash(entry, "sha256")

    def shorthash(self, entry: Entry) -> Future[str]:
        """The digits that infotexts show to come: 12 of a LoRA or embedding, 10 of the other kinds (D046)."""
        return self._hashes.short(entry)

    def has_hash(self, entry: Entry, digits: str) -> bool | None:
        """Whether the file's hash of any kind begins with the digits; None while none of them is known."""
        return self._hashes.has(entry, digits)

    def with_hash(self, kind: Kind, digits: str, *, wait: bool = True) -> Entry | None:
        """The file whose hash begins with the digits; None if there is none, or it is not found in a moment.

        Hashes that are known are compared first; others are computed where `wait` says so.
        """
        usable = [entry for entry in self.entries(kind) if not entry.error]
        return self._hashes.find(usable, digits, patience=HASH_PATIENCE if wait else 0)

    def _hashed(self, kind: Kind) -> None:
        if self._refresh(kind, 0):
            self._tell(kind)


def _is_shown(found: Found, facts: Facts | None) -> bool:
    """Whether a file has a card: not a picture among the embeddings before it is known to be one."""
    if facts is None:
        return Path(found.stamp.path).suffix.lower() not in IMAGE_SUFFIXES
    return not facts.is_none


def _entry(kind: Kind, found: Found, facts: Facts | None, sidecars: Known, hashes: Known) -> Entry:
    """The entry of a file found."""
    parts: list[dict[str, Any]] = [sidecars.get(place, {}) for place in found.sidecars]
    path = Path(found.stamp.path)
    own = path.stem if path.suffix.lower() in SUFFIXES[kind] else path.name
    name = (facts.inner_name if facts else "") or own
    return Entry(
        kind=kind,
        path=path,
        root=found.root,
        relative=found.relative,
        name=name,
        insert=name,
        size=found.stamp.size,
        mtime_ns=found.stamp.mtime_ns,
        created_ns=found.created_ns,
        hidden=found.hidden,
        examined=facts is not None,
        facts=facts or Facts(),
        preview=Path(found.preview.path) if found.preview else None,
        preview_mtime_ns=found.preview.mtime_ns if found.preview else 0,
        sidecar=merged(parts),
        sha256=hashes.get(found.stamp),
    )
