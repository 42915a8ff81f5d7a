"""Contents travel only to nodes that lack them, and arrive whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modules.catalogue import Folders
from modules.catalogue.index import Index
from modules.cluster import porter as module
from modules.cluster.manifest import Item
from modules.cluster.places import place_of
from modules.cluster.porter import Porter

from .conftest import NearNode


@pytest.fixture
def index() -> Iterator[Index]:
    index = Index(None)
    yield index
    index.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "server" / "model.safetensors"
    path.parent.mkdir()
    path.write_bytes(bytes(range(256)) * 4096)
    return path


def item_of(path: Path) -> Item:
    status = path.stat()
    return Item(str(path), place_of(path), status.st_size, status.st_mtime_ns)


def node(tmp_path: Path, name: str = "a", *, shares_disk: bool = False) -> NearNode:
    return NearNode(Folders.from_args(shipped=tmp_path / "server"), tmp_path / name, shares_disk=shares_disk)


def placed(node: NearNode, item: Item) -> Path:
    return node.worker._tree.path(item.place)


def test_a_file_is_sent_once_to_each_node(tmp_path: Path, file: Path, index: Index, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "CHUNK", 100_000)
    item = item_of(file)
    first, neighbour, other = node(tmp_path), node(tmp_path), node(tmp_path, "b")
    for each in (first, neighbour, other):
        placed(each, item).parent.mkdir(parents=True)
        assert Porter(each, index, lambda text: None).bring((item,)) == ""
        assert placed(each, item).read_bytes() == file.read_bytes()
        assert placed(each, item).stat().st_mtime_ns == item.mtime_ns
    assert (first.sent, neighbour.sent, other.sent) == (item.size, 0, item.size)
    for each in (first, neighbour, other):
        each.end()


def test_a_file_that_lies_on_the_node_is_used_as_it_is(tmp_path: Path, file: Path, index: Index) -> None:
    near, item = node(tmp_path, shares_disk=True), item_of(file)
    placed(near, item).parent.mkdir(parents=True)
    assert Porter(near, index, lambda text: None).bring((item,)) == ""
    assert placed(near, item).resolve() == file
    assert near.sent == 0
    near.end()
    assert file.exists()


def test_another_file_of_that_name_and_size_is_not_mistaken_for_it(tmp_path: Path, file: Path, index: Index) -> None:
    near, item = node(tmp_path, shares_disk=True), item_of(file)
    assert near.worker.offer(item, "0" * 64)
    near.end()


def test_a_file_that_changes_on_the_way_is_sent_again(tmp_path: Path, file: Path, index: Index) -> None:
    far, item = node(tmp_path), item_of(file)
    placed(far, item).parent.mkdir(parents=True)
    real, other = far.offer, b"other" * 1000

    def offer(item: Item, digest: str) -> bool:
        wanted = real(item, digest)
        if file.read_bytes() != other:
            file.write_bytes(other)
        return wanted

    far.offer = offer  # type: ignore[method-assign]
    assert Porter(far, index, lambda text: None).bring((item,)) == ""
    assert placed(far, item).read_bytes() == other
    far.end()


def test_a_file_that_is_gone_is_named(tmp_path: Path, file: Path, index: Index) -> None:
    far, item = node(tmp_path), item_of(file)
    file.unlink()
    said: list[str] = []
    assert Porter(far, index, said.append).bring((item,)).startswith("model.safetensors could not be brought to far: ")
    assert said[-1] == ""
    far.end()


def test_the_person_sees_how_far_copying_is(tmp_path: Path, file: Path, index: Index, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "CHUNK", file.stat().st_size // 2)
    far, item, said = node(tmp_path), item_of(file), []
    placed(far, item).parent.mkdir(parents=True)
    Porter(far, index, said.append).bring((item,))
    assert said[1:] == [f"Copying model.safetensors to far: {share} %" for share in (0, 50)] + [""]
    far.end()


def test_no_more_than_a_few_chunks_are_under_way(tmp_path: Path, file: Path, index: Index, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "CHUNK", file.stat().st_size // 16)
    far, item = node(tmp_path), item_of(file)
    placed(far, item).parent.mkdir(parents=True)
    real, open_chunks, most = far.add, [], []

    def add(data: bytes) -> Callable[[], None]:
        real(data)
        open_chunks.append(data)
        most.append(len(open_chunks))
        return open_chunks.pop

    far.add = add  # type: ignore[method-assign,assignment]
    assert Porter(far, index, lambda text: None).bring((item,)) == ""
    assert max(most) == module.WINDOW
    assert not open_chunks
    far.end()
