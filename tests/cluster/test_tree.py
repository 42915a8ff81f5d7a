"""A node knows the server's files by name and kind before it has any of their contents."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from modules.catalogue import KINDS, Catalogue, Folders, StyleFiles
from modules.catalogue.hashes import legacy_hash
from modules.cluster.manifest import SMALL, Changes, Item, Manifest, NotSeen
from modules.cluster.places import moved, place_of
from modules.cluster.tree import Tree


@pytest.fixture
def manifest(folders: Folders) -> Iterator[Manifest]:
    with Catalogue(folders, folders.index, is_thorough=False) as catalogue:
        yield Manifest(catalogue)


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    tree = Tree(tmp_path / "node" / "tree", tmp_path / "node" / "tagbrush-index.db")
    yield tree
    tree.close()


def there(folders: Folders, tree: Tree) -> Folders:
    placed = moved(folders, lambda path: tree.path(place_of(path)))
    return replace(placed, data_dir=tree.root.parent)


def test_the_nodes_catalogue_is_the_servers(
    folders: Folders, catalogue: Catalogue, manifest: Manifest, tree: Tree
) -> None:
    tree.change(manifest.look())
    far = there(folders, tree)
    with Catalogue(far, far.index, is_thorough=False) as nodes:
        for kind in KINDS:
            ours = [(e.relative, e.insert, e.facts, e.size, e.mtime_ns, e.sidecar) for e in catalogue.entries(kind)]
            theirs = [(e.relative, e.insert, e.facts, e.size, e.mtime_ns, e.sidecar) for e in nodes.entries(kind)]
            assert theirs == ours
            assert ours or kind == "vae"


def test_large_files_are_holes_until_they_are_filled(catalogue: Catalogue, manifest: Manifest, tree: Tree) -> None:
    tree.change(manifest.look())
    checkpoint = catalogue.entries("checkpoint")[0]
    here = tree.path(place_of(checkpoint.path))
    assert here.stat().st_size == checkpoint.size > SMALL
    assert not here.read_bytes()[:SMALL].strip(b"\0")
    assert legacy_hash(here) == legacy_hash(checkpoint.path), "by which old texts name it"
    [item] = tree.lacking([str(here)])
    tree.fill(item, checkpoint.path, is_ours=False)
    assert here.read_bytes() == checkpoint.path.read_bytes()
    assert not tree.lacking([str(here)])


def test_small_files_and_styles_travel_with_the_manifest(folders: Folders, manifest: Manifest, tree: Tree) -> None:
    tree.change(manifest.look())
    assert [entry.name for entry in StyleFiles(there(folders, tree).styles).entries()] == ["warm"]
    models = folders.checkpoints[0]
    beside = (next(folders.loras[0].rglob("*.json")), models / "tiny_sd1.yaml", models / "clip" / "config.json")
    for path in beside:  # the last is named by the checkpoint's configuration, and changes the picture
        assert tree.path(place_of(path)).read_bytes() == path.read_bytes()


def test_only_what_has_changed_is_told(folders: Folders, manifest: Manifest) -> None:
    assert manifest.look()
    assert not manifest.look()
    assert not manifest.glance()
    lora = next(folders.loras[0].rglob("*.safetensors"))
    other = lora.with_name("another.safetensors")
    other.write_bytes(lora.read_bytes())
    assert [Path(item.path) for item in manifest.glance().items] == [other]
    other.unlink()
    assert manifest.glance().gone == (place_of(other),)


@pytest.mark.parametrize("error", [PermissionError(13, "denied"), sqlite3.DatabaseError("disk image is malformed")])
@pytest.mark.parametrize("broken", ["refresh", "current_entries"])
def test_files_that_cannot_be_looked_through_are_told_in_words(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch, broken: str, error: Exception
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(Catalogue, broken, fail)
    with pytest.raises(NotSeen, match=r"files cannot be looked through: .*(denied|malformed)"):
        manifest.look()


def test_a_file_that_changed_is_a_hole_again(catalogue: Catalogue, manifest: Manifest, tree: Tree) -> None:
    tree.change(manifest.look())
    path = catalogue.entries("checkpoint")[0].path
    here = str(tree.path(place_of(path)))
    tree.fill(tree.lacking([here])[0], path, is_ours=False)
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1_000_000))
    tree.change(manifest.look("checkpoint"))
    assert [item.path for item in tree.lacking([here])] == [str(path)]
    assert path.stat().st_size, "what the tree held was a link; the server's own file is left alone"


def test_contents_that_were_on_their_way_when_the_file_changed_are_not_those_of_the_file_now(
    catalogue: Catalogue, manifest: Manifest, tree: Tree
) -> None:
    tree.change(manifest.look())
    path = catalogue.entries("checkpoint")[0].path
    here = str(tree.path(place_of(path)))
    [under_way] = tree.lacking([here])
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1_000_000))
    tree.change(manifest.look("checkpoint"))
    tree.fill(under_way, path, is_ours=False)
    assert [item.mtime_ns for item in tree.lacking([here])] == [path.stat().st_mtime_ns]


def test_files_that_come_while_others_are_looked_for_wait_for_that(
    manifest: Manifest, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree.change(manifest.look())
    item = Item("/new.pt", "new.pt", SMALL + 1, 0)
    changing = threading.Thread(target=lambda: tree.change(Changes((item,))))
    path = Tree.path

    def path_while_it_changes(tree: Tree, place: str) -> Path:
        if threading.current_thread() is not changing and changing.ident is None:
            changing.start()
            changing.join(0.2)
        return path(tree, place)

    monkeypatch.setattr(Tree, "path", path_while_it_changes)
    everything = [str(tree.root)]
    assert item not in tree.lacking(everything)
    changing.join(30)
    assert item in tree.lacking(everything)


def test_what_is_gone_goes(folders: Folders, manifest: Manifest, tree: Tree) -> None:
    tree.change(manifest.look())
    path = next(folders.hypernetworks[0].rglob("*.pt"))
    path.unlink()
    tree.change(manifest.glance())
    assert not tree.path(place_of(path)).exists()


def test_a_model_folder_is_lacking_as_a_whole(folders: Folders, manifest: Manifest, tree: Tree) -> None:
    folder = folders.checkpoints[0] / "folder"
    (folder / "unet").mkdir(parents=True)
    (folder / "model_index.json").write_text("{}")
    (folder / "unet" / "config.json").write_text('{"cross_attention_dim": 768}')
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(bytes(SMALL + 1))
    tree.change(manifest.look())
    here = tree.path(place_of(folder))
    assert [Path(item.path).name for item in tree.lacking([str(here)])] == ["diffusion_pytorch_model.safetensors"]
    assert (here / "unet" / "config.json").read_text() == '{"cross_attention_dim": 768}'
