"""Watching folders for files that come, go or change."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import watchfiles

from .entries import Kind

PAUSE_MS = 400
"""A burst of changes is reported once it has been still for this long."""

BURST_MS = 2_000
"""A burst that never rests (a long copy) is reported at this interval."""

LOOK_MS = 2_000
"""How often to look whether a folder that was missing is there."""

UNFINISHED = (".tmp", ".part", ".crdownload", ".download", ".partial")


class Watch:
    """A thread that calls back with the kinds whose folders changed.

    A folder that is missing is watched as soon as it exists. Where the system cannot notify (no more inotify watches,
    some network drives), the folders are compared every few seconds instead. Whenever it has begun to see changes it
    calls `begun`: what changed before that, it has not seen.
    """

    def __init__(
        self,
        folders: Callable[[], Mapping[Kind, tuple[Path, ...]]],
        callback: Callable[[frozenset[Kind]], None],
        begun: Callable[[], None],
    ) -> None:
        self._folders, self._callback, self._begun = folders, callback, begun
        self._stop = threading.Event()
        self._polling = False
        self._thread = threading.Thread(target=self._run, name="catalogue watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop, and wait until the thread has."""
        self._stop.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        watched: frozenset[Path] | None = None
        while not self._stop.is_set():
            there = self._existing()
            if watched is not None and there != watched:
                self._callback(self._kinds(there ^ watched))
            watched = there
            if there:
                self._watch(there)
            else:
                self._stop.wait(LOOK_MS / 1000)

    def _watch(self, roots: frozenset[Path]) -> None:
        """Report changes below the roots until other roots exist or the watch is closed."""
        has_begun = False
        try:
            for changes in watchfiles.watch(
                *roots,
                watch_filter=_is_finished,
                debounce=BURST_MS,
                step=PAUSE_MS,
                stop_event=self._stop,
                rust_timeout=LOOK_MS,
                yield_on_timeout=True,
                raise_interrupt=False,
                force_polling=self._polling,
                poll_delay_ms=LOOK_MS,
            ):
                if not has_begun:
                    has_begun = True
                    self._begun()
                if changes:
                    self._callback(self._kinds(Path(path) for _, path in changes))
                if self._existing() != roots:
                    return
        except (OSError, RuntimeError):
            self._polling = True
            self._stop.wait(LOOK_MS / 1000)

    def _existing(self) -> frozenset[Path]:
        return frozenset(root for roots in self._folders().values() for root in roots if root.is_dir())

    def _kinds(self, paths: Iterable[Path]) -> frozenset[Kind]:
        """The kinds in whose folders the paths lie; all, if a path lies in none (it was reached by a link)."""
        folders = self._folders()
        kinds: set[Kind] = set()
        for path in paths:
            lies_in = {kind for kind, roots in folders.items() if any(path.is_relative_to(root) for root in roots)}
            kinds |= lies_in or set(folders)
        return frozenset(kinds)


def _is_finished(_: watchfiles.Change, path: str) -> bool:
    return not path.lower().endswith(UNFINISHED)
