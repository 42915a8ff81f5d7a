"""Walking the folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modules.catalogue.scan import scan, stamp


def put(path: Path, data: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def names(*roots: Path, kind: str = "lora") -> list[str]:
    return [found.relative for found in scan(kind, roots)]  # type: ignore[arg-type]


def link(target: Path, place: Path) -> None:
    try:
        place.symlink_to(target, target_is_directory=target.is_dir())
    except OSError:
        pytest.skip("this system makes no links without special rights")


def test_folders_are_walked_deep_and_in_natural_order(tmp_path: Path) -> None:
    # D002, D050
    for name in ("b10.pt", "b9.pt", "A.safetensors", "sub/deep/c.ckpt", "sub/Z.PT"):
        put(tmp_path / name)
    assert names(tmp_path) == ["A.safetensors", "b9.pt", "b10.pt", "sub/deep/c.ckpt", "sub/Z.PT"]


def test_other_files_empty_files_and_shadows_of_macos_are_passed_over(tmp_path: Path) -> None:
    # D010, D030
    for name in ("a.txt", "a.safetensors.part", "a.civitai.info", "._a.safetensors", "a.json"):
        put(tmp_path / name)
    put(tmp_path / "empty.safetensors", b"")
    assert names(tmp_path) == []


def test_a_folder_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert names(tmp_path / "nowhere") == []


def test_a_link_back_up_does_not_go_round_for_ever(tmp_path: Path) -> None:
    put(tmp_path / "sub/a.pt")
    link(tmp_path, tmp_path / "sub/loop")
    assert names(tmp_path) == ["sub/a.pt"]


def test_links_to_files_and_folders_elsewhere_are_followed(tmp_path: Path) -> None:
    # D002
    put(tmp_path / "disk/a.pt")
    root = tmp_path / "root"
    root.mkdir()
    link(tmp_path / "disk", root / "linked")
    link(tmp_path / "disk/a.pt", root / "b.pt")
    link(tmp_path / "gone.pt", root / "broken.pt")
    assert names(root) == ["b.pt", "linked/a.pt"]


def test_a_hidden_folder_is_searched_and_flagged(tmp_path: Path) -> None:
    # D002
    put(tmp_path / ".secret/a.pt")
    put(tmp_path / "b.pt")
    assert {found.relative: found.hidden for found in scan("lora", [tmp_path])} == {".secret/a.pt": True, "b.pt": False}


def test_the_users_file_hides_a_shipped_one_of_the_same_path(tmp_path: Path) -> None:
    put(tmp_path / "mine/a.pt")
    put(tmp_path / "shipped/a.pt")
    put(tmp_path / "shipped/b.pt")
    found = scan("lora", [tmp_path / "mine", tmp_path / "shipped"])
    assert [item.root.name for item in found] == ["mine", "shipped"]


def test_one_folder_given_twice_is_searched_once(tmp_path: Path) -> None:
    put(tmp_path / "a/b.pt")
    assert names(tmp_path, tmp_path / "a") == ["a/b.pt"]


def test_a_vae_beside_a_checkpoint_is_a_vae_and_no_checkpoint(tmp_path: Path) -> None:
    # D010, D020
    put(tmp_path / "model.safetensors")
    put(tmp_path / "model.vae.pt")
    put(tmp_path / "model.VAE.safetensors")
    assert names(tmp_path, kind="checkpoint") == ["model.safetensors"]
    found = scan("vae", [tmp_path / "VAE"], vae_neighbours=[tmp_path])
    assert {item.relative for item in found} == {"model.vae.pt", "model.VAE.safetensors"}


def test_a_diffusers_folder_is_one_checkpoint_and_its_parts_are_none(tmp_path: Path) -> None:
    put(tmp_path / "model-v1.5/model_index.json")
    put(tmp_path / "model-v1.5/unet/diffusion.safetensors", b"xyz")
    found = scan("checkpoint", [tmp_path])
    assert [(item.relative, item.stamp.size) for item in found] == [("model-v1.5", 3)]


@pytest.mark.parametrize(
    ("there", "chosen"),
    [
        (["a.png", "a.preview.png"], "a.png"),
        (["a.preview.png", "a.jpg"], "a.preview.png"),
        (["a.preview.webp"], "a.preview.webp"),
        (["A.JPEG"], "A.JPEG"),
        (["a.gif", "a.webp"], "a.webp"),
        (["ab.png", "a.svg", "a.html"], None),
    ],
)
def test_the_preview_is_the_first_there_in_a1111s_order(there: list[str], chosen: str | None, tmp_path: Path) -> None:
    # D060
    for name in ["a.safetensors", *there]:
        put(tmp_path / name)
    (found,) = scan("lora", [tmp_path])
    assert (Path(found.preview.path).name if found.preview else None) == chosen


def test_sidecars_come_with_their_file(tmp_path: Path) -> None:
    # D061
    for name in ("a.vae.pt", "a.vae.json", "a.vae.txt", "a.vae.description.txt", "a.json"):
        put(tmp_path / name)
    (found,) = scan("vae", [tmp_path])
    assert [Path(place.path).name for place in found.sidecars] == ["a.vae.json", "a.vae.txt", "a.vae.description.txt"]


def test_a_stamp_changes_with_size_and_with_time_either_way(tmp_path: Path) -> None:
    # D013
    path = put(tmp_path / "a.pt")
    first = stamp(path)
    os.utime(path, ns=(0, 1_000_000_000))
    older = stamp(path)
    assert first != older
    assert stamp(tmp_path / "gone") is None


@pytest.mark.skipif(os.name != "posix", reason="such names exist on POSIX systems alone")
def test_a_name_that_is_no_text_is_passed_over(tmp_path: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff.pt")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes only names that are text")
    assert names(tmp_path) == []
