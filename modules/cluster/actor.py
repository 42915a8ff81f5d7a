"""A worker on a node: keeps an engine process, and the files that it needs, for a relay on the server's machine.

A plain class, which `connection` makes a Ray actor of. Ray calls its methods from several threads, one for each of the
groups in `GROUPS`, so that listening, talking and copying never wait for each other; what the engine says comes from a
thread of its own. A copy under way is the business of "files" alone.
"""

from __future__ import annotations

import os
import queue
import shutil
import threading
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from modules.catalogue import Folders
from modules.catalogue.hashes import digest_of
from modules.catalogue.index import Index
from modules.catalogue.scan import stamp
from modules.engine.config import EngineConfig, worker_command
from modules.images import remove_mark
from modules.jobs import Exit
from modules.jobs.messages import Here, Message, Need, PictureSaved, encode, read
from modules.jobs.process import WorkerProcess
from modules.jobs.worker import Worker

from .blobs import Arrival, Blobs, hold, is_held
from .manifest import Changes, Item
from .places import moved
from .slots import Slot
from .tree import Tree
from .versions import Versions, code_root, versions
from .words import Ended, Made, Spoken, Wanted, Word

GROUPS: Mapping[str, int] = MappingProxyType({"hear": 1, "tell": 1, "renew": 1, "files": 1})
"""Of a Ray actor's calls, and how many of each may run at once; "files" may be at it for minutes."""

MOST_WORDS = 64
"""In one answer to `tell`."""

UNSAVED = "unsaved"

T = TypeVar("T")


class NodeWorker:
    """One engine process on this node, and what its relay asks of it."""

    def __init__(self, config: str, slot: Slot, cache: Path | None = None) -> None:
        """`config` is the server's EngineConfig as JSON, its paths as `place_of` gives them. Raises OSError."""
        self._config = EngineConfig.model_validate_json(config)
        self._slot = slot
        self._cache = cache or cache_folder(os.environ)
        self._blobs = Blobs(self._cache / "files")
        self._home = _new_home(self._cache / "workers")
        self._lock = hold(self._home / "lock")
        self._tree = Tree(self._home / "tree", self._own.index)
        self._known = Index(self._cache / "index.db")
        self._said: queue.SimpleQueue[Word] = queue.SimpleQueue()
        self._arrival: Arrival | None = None
        self._process: WorkerProcess | None = None

    @property
    def _own(self) -> Folders:
        """The folders as the engine sees them: the server's in the tree, and its own place for what it writes."""
        folders = moved(self._config.folders, lambda path: self._home / "tree" / path)
        return replace(folders, data_dir=self._home)

    def about(self) -> Versions:
        """What this node runs."""
        return versions()

    def begin(self, files: Changes) -> None:
        """Start the engine, with these files to be seen. Raises OSError."""
        self._tree.change(files)
        config = EngineConfig(folders=self._own, device=self._config.device, asks_for_files=True)
        env = os.environ | {"OMP_NUM_THREADS": str(self._slot.threads), "PYTHONPATH": str(code_root())}
        start = partial(WorkerProcess, worker_command(config), self._receive, cwd=self._home, env=env)
        self._process = in_a_lasting_thread(start)

    # What the server says

    def hear(self, frame: bytes) -> None:
        """Pass a message on to the engine."""
        message = read(BytesIO(frame))
        if self._process is not None and message is not None:
            self._process.send(message)

    def renew(self, files: Changes) -> None:
        """The server's files have changed. Raises OSError."""
        self._tree.change(files)

    # What the engine says

    def tell(self, patience: float) -> list[Word]:
        """What has been said since the last call, waiting up to `patience` seconds for something."""
        words: list[Word] = []
        with suppress(queue.Empty):
            words.append(self._said.get(timeout=patience))
            while len(words) < MOST_WORDS:
                words.append(self._said.get_nowait())
        return words

    def _receive(self, process: Worker, said: Message | Exit) -> None:
        if isinstance(said, Exit):
            self._said.put(Ended(said.code, str(said), said.printed))
        elif isinstance(said, Need):
            self._want(process, said)
        elif isinstance(said, PictureSaved):
            self._said.put(self._made(said))
        else:
            self._said.put(Spoken(encode(said)))

    def _want(self, process: Worker, need: Need) -> None:
        items = self._tree.lacking(need.files)
        if items:
            self._said.put(Wanted(need.number, items))
        else:
            process.send(Here(number=need.number))

    def _made(self, message: PictureSaved) -> Made:
        """The picture, taken off this node's disk. Raises OSError."""
        path = Path(message.path)
        remove_mark(path)
        data = path.read_bytes()
        path.unlink()
        is_kept = UNSAVED not in path.relative_to(self._home).parts
        return Made(encode(message), data, path.suffix, is_kept)

    # Files

    def offer(self, item: Item, digest: str) -> bool:
        """Whether the contents have to be sent; if not, they are at their place now. Raises NotCopied, OSError.

        Waits while another worker of this node is copying the same.
        """
        self._drop_arrival()
        if self._lies_here(item, digest):
            self._tree.fill(item, Path(item.path), is_ours=False)
            return False
        arrival = Arrival(self._blobs, digest, item.size)
        if arrival.path is not None:
            self._tree.fill(item, arrival.path, is_ours=True)
            return False
        self._arrival = arrival
        return True

    def add(self, data: bytes) -> None:
        """The next bytes of what was offered. Raises NotCopied."""
        assert self._arrival is not None
        self._arrival.add(data)

    def finish(self, item: Item) -> None:
        """All bytes were sent: check them and have them at the item's place. Raises NotCopied, OSError."""
        arrival, self._arrival = self._arrival, None
        assert arrival is not None
        self._tree.fill(item, arrival.finish(), is_ours=True)

    def answer(self, number: int, error: str = "") -> None:
        """Tell the engine that what it needed is here, or why not."""
        self._drop_arrival()
        if self._process is not None:
            self._process.send(Here(number=number, error=error))

    def _lies_here(self, item: Item, digest: str) -> bool:
        """Whether this node has the very file under the server's name, as on a shared disk."""
        place = stamp(item.path)
        if place is None or place.size != item.size:
            return False
        known = self._known.hash_of(place, "sha256")
        if known is None:
            try:
                known = digest_of(Path(item.path))
            except OSError:
                return False
            self._known.save_hash(place, "sha256", known)
        return known == digest

    def _drop_arrival(self) -> None:
        if self._arrival is not None:
            self._arrival.close()
            self._arrival = None

    # The end

    def end(self, patience: float) -> None:
        """End the engine and leave nothing of it but what the cache keeps."""
        if self._process is not None:
            self._process.hang_up()
            if not self._process.join(patience):
                self._process.kill()
        self._drop_arrival()
        self._tree.close()
        self._known.close()
        shutil.rmtree(self._home, ignore_errors=True)
        self._lock.close()


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Where a node keeps copies: TAGBRUSH_NODE_CACHE, else `tagbrush` in the user's folder for caches."""
    if chosen := environ.get("TAGBRUSH_NODE_CACHE"):
        return Path(chosen).expanduser()
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tagbrush"


def in_a_lasting_thread(start: Callable[[], T]) -> T:
    """What `start` gives, from a thread that stays: Linux ends an engine with the thread that started it."""
    results: queue.SimpleQueue[T | OSError] = queue.SimpleQueue()

    def work() -> None:
        try:
            results.put(start())
        except OSError as error:
            results.put(error)
            return
        threading.Event().wait()

    threading.Thread(target=work, name="engine-keeper", daemon=True).start()
    result = results.get()
    if isinstance(result, OSError):
        raise result
    return result


def _new_home(folder: Path) -> Path:
    """A folder for one worker; those that killed workers left behind are removed."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        if (old / "lock").exists() and not is_held(old / "lock"):
            shutil.rmtree(old, ignore_errors=True)
    home = folder / uuid.uuid4().hex
    home.mkdir()
    return home
