"""What a node keeps of its workers, and what goes with them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from modules.catalogue import Folders
from modules.cluster.actor import cache_folder, in_a_lasting_thread
from modules.cluster.manifest import Item
from modules.jobs.messages import Here, Message, Need

from .conftest import NearNode


def test_what_killed_workers_left_is_removed_by_the_next(folders: Folders, tmp_path: Path) -> None:
    cache = tmp_path / "node"
    killed, living = NearNode(folders, cache), NearNode(folders, cache)
    home = killed.worker._home
    killed.worker._lock.close()  # as the system does for whoever is killed
    fresh = NearNode(folders, cache)
    assert not home.exists()
    assert living.worker._home.exists()
    for node in (killed, living, fresh):
        node.end()
    assert not list((cache / "workers").iterdir())


class Engine:
    """An engine that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[Message] = []

    def send(self, message: Message) -> None:
        self.told.append(message)


def test_a_plan_that_lacks_nothing_goes_on_while_files_of_another_are_copied(folders: Folders, tmp_path: Path) -> None:
    node, engine, data = NearNode(folders, tmp_path / "node"), Engine(), b"weights"
    item = Item("/nowhere/model.safetensors", "nowhere/model.safetensors", len(data), 0)
    place = node.worker._tree.path(item.place)
    place.parent.mkdir(parents=True)
    assert node.offer(item, hashlib.sha256(data).hexdigest())
    node.add(data[:3])
    node.worker._receive(engine, Need(number=7, files=()))  # type: ignore[arg-type]
    assert engine.told == [Here(number=7)]
    node.add(data[3:])
    node.finish(item)
    assert place.read_bytes() == data
    node.end()


def test_the_cache_lies_where_the_node_says() -> None:
    assert cache_folder({"TAGBRUSH_NODE_CACHE": "/big/disk"}) == Path("/big/disk")
    assert cache_folder({"XDG_CACHE_HOME": "/caches"}) == Path("/caches/tagbrush")
    assert cache_folder({}) == Path.home() / ".cache" / "tagbrush"


def test_what_cannot_be_started_is_said_to_whoever_starts_it() -> None:
    assert in_a_lasting_thread(os.getpid) == os.getpid()

    def fail() -> None:
        raise FileNotFoundError("no such program")

    with pytest.raises(FileNotFoundError):
        in_a_lasting_thread(fail)
