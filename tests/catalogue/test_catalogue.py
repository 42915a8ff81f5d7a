"""The catalogue as a whole: finding, keeping up to date, hashing, watching."""

from __future__ import annotations

import hashlib
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import watchfiles

from modules.catalogue import Catalogue, Facts, Folders
from modules.catalogue import catalogue as catalogue_module
from modules.catalogue import watch as watch_module
from modules.params import BadFile

from .files import EMBEDDING, LORA, SD1, write_tensors

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
ADDNET = json.loads((GOLDEN / "lora.json").read_text())["addnet_shorthash"]


def test_a_file_dropped_in_is_found_by_name_without_a_refresh(catalogue: Catalogue, loras: Path) -> None:
    assert catalogue.find("lora", "new") is None
    write_tensors(loras / "new.safetensors", LORA)
    found = catalogue.find("lora", "new")
    assert found is not None
    assert found.family == "sd1"


def test_a_file_replaced_by_an_older_one_is_seen(catalogue: Catalogue, loras: Path) -> None:
    # D013
    path = write_tensors(loras / "a.safetensors", LORA, {"ss_base_model_version": "sdxl_base"})
    assert catalogue.find("lora", "a").family == "sdxl"  # type: ignore[union-attr]
    write_tensors(path, LORA, {"ss_base_model_version": "sd_v1_abcd"})
    os.utime(path, ns=(0, 1))
    assert catalogue.find("lora", "a").family == "sd1"  # type: ignore[union-attr]


def test_a_file_that_is_gone_is_not_found(catalogue: Catalogue, loras: Path) -> None:
    path = write_tensors(loras / "a.safetensors", LORA)
    assert catalogue.find("lora", "a")
    path.unlink()
    assert catalogue.find("lora", "a") is None


def test_broken_files_are_listed_with_their_fault(catalogue: Catalogue, loras: Path) -> None:
    path = write_tensors(loras / "a.safetensors", LORA)
    path.write_bytes(path.read_bytes()[:-1])
    (loras / "b.pt").write_bytes(b"PK\x03\x04rubbish")
    (loras / "c.ckpt").write_bytes(b"not a model at all")
    assert [bool(entry.error) for entry in catalogue.entries("lora")] == [True, True, True]


def test_a_file_that_could_not_be_read_for_a_moment_is_tried_again(
    catalogue: Catalogue, loras: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tensors(loras / "a.safetensors", LORA)
    opened = Path.open

    def locked(self: Path, *mode: str, **more: object) -> object:
        if self == path:
            raise PermissionError(13, "Permission denied")
        return opened(self, *mode, **more)  # type: ignore[call-overload]

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", locked)
        assert "Permission denied" in (catalogue.entries("lora")[0].error or "")
    catalogue.refresh("lora")
    assert catalogue.entries("lora")[0].error is None


def test_an_id_leads_back_to_its_entry_and_is_safe_in_an_address(catalogue: Catalogue, loras: Path) -> None:
    write_tensors(loras / "süß & (neu)/a b.safetensors", LORA)
    (entry,) = catalogue.entries("lora")
    assert catalogue.by_id("lora", entry.id) == entry
    assert entry.id.isalnum()
    assert entry.id.isascii()
    assert entry.category == "süß & (neu)"
    assert catalogue.by_id("lora", "unknown") is None


def test_refresh_names_the_kinds_that_changed(catalogue: Catalogue, folders: Folders) -> None:
    catalogue.refresh()
    write_tensors(folders.embeddings[0] / "a.safetensors", EMBEDDING)
    assert catalogue.refresh() == {"embedding"}
    assert catalogue.refresh() == frozenset()


def test_the_shipped_files_are_found_too(catalogue: Catalogue, folders: Folders) -> None:
    write_tensors(folders.checkpoints[-1] / "tagbrush.safetensors", SD1)
    found = catalogue.find_checkpoint("tagbrush")
    assert found is not None
    assert found.root == folders.checkpoints[-1]


def test_categories_are_the_folders_with_something_in_them(catalogue: Catalogue, loras: Path) -> None:
    for name in ("a10/x", "a9/x", ".hidden/x", "x"):
        write_tensors(loras / f"{name}.safetensors", LORA)
    (loras / "empty").mkdir()
    assert catalogue.categories("lora") == ("a9", "a10")


def test_metadata_is_read_in_full_when_asked_for(catalogue: Catalogue, loras: Path) -> None:
    # D016
    write_tensors(loras / "a.safetensors", LORA, {"ss_tag_frequency": "x" * 5000})
    (entry,) = catalogue.entries("lora")
    assert "ss_tag_frequency" not in entry.metadata
    assert len(catalogue.metadata(entry)["ss_tag_frequency"]) == 5000


# The VAE of a checkpoint


def test_a_vae_of_the_exact_stem_goes_with_its_checkpoint(catalogue: Catalogue, folders: Folders) -> None:
    # D021
    models, vaes = folders.checkpoints[0], folders.vaes[0]
    for name in ("modelA", "modelAB"):
        write_tensors(models / f"{name}.safetensors", SD1)
    write_tensors(models / "modelAB.vae.safetensors", {"decoder.conv_in.weight": (1,)})
    write_tensors(vaes / "modelA.safetensors", {"decoder.conv_in.weight": (1,)})
    first, second = catalogue.find_checkpoint("modelA"), catalogue.find_checkpoint("modelAB")
    assert first and second
    assert catalogue.vae_beside(first).path.parent == vaes  # type: ignore[union-attr]
    assert catalogue.vae_beside(second).path.name == "modelAB.vae.safetensors"  # type: ignore[union-attr]


def test_a_vae_answers_to_its_file_name(catalogue: Catalogue, folders: Folders) -> None:
    # D020
    write_tensors(folders.checkpoints[0] / "m.vae.safetensors", {"decoder.conv_in.weight": (1,)})
    assert catalogue.find("vae", "m.vae.safetensors")


# The index


def test_a_second_start_opens_no_file_that_is_unchanged(
    folders: Folders, loras: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # D065, D016
    write_tensors(loras / "a.safetensors", LORA, {"ss_output_name": "alias"})
    (loras / "a.json").write_text('{"description": "Ink"}')
    folders.index.parent.mkdir(parents=True, exist_ok=True)
    with Catalogue(folders, folders.index) as first:
        before = first.entries("lora")

    def unexpected(*_: object) -> None:
        raise AssertionError("a file was opened")

    monkeypatch.setattr(catalogue_module, "examine", unexpected)
    monkeypatch.setattr(catalogue_module, "read_sidecar", unexpected)
    with Catalogue(folders, folders.index) as second:
        assert second.entries("lora") == before


@pytest.mark.parametrize("damage", [b"this is no database", b"SQLite format 3\0" + b"\xff" * 4096, b""])
def test_a_damaged_index_is_made_again(damage: bytes, folders: Folders, loras: Path) -> None:
    # D065
    write_tensors(loras / "a.safetensors", LORA)
    folders.index.parent.mkdir(parents=True, exist_ok=True)
    folders.index.write_bytes(damage)
    with Catalogue(folders, folders.index) as catalogue:
        assert catalogue.find("lora", "a")


def test_an_index_that_cannot_be_written_is_done_without(folders: Folders, loras: Path) -> None:
    write_tensors(loras / "a.safetensors", LORA)
    with Catalogue(folders, folders.data_dir / "missing" / "index.db") as catalogue:
        assert catalogue.find("lora", "a")


def test_two_catalogues_share_an_index(folders: Folders, loras: Path) -> None:
    write_tensors(loras / "a.safetensors", LORA)
    with Catalogue(folders, folders.index) as server, Catalogue(folders, folders.index) as worker:
        digest = server.sha256(server.entries("lora")[0]).result(timeout=60)
        worker.refresh("lora")
        assert worker.entries("lora")[0].sha256 == digest


def test_many_new_files_are_listed_at_once_and_examined_behind(
    catalogue: Catalogue, loras: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        write_tensors(loras / f"{number}.safetensors", LORA)
    monkeypatch.setattr(catalogue_module, "PATIENCE", -1.0)
    told = threading.Event()
    catalogue._listeners.append(lambda kind: told.set())
    assert len(catalogue.entries("lora")) == 20
    assert catalogue.find("lora", "7").family == "sd1"  # type: ignore[union-attr]
    assert told.wait(60)
    deadline = time.monotonic() + 60
    while not all(entry.examined for entry in catalogue.entries("lora")) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert {entry.family for entry in catalogue.entries("lora")} == {"sd1"}


def test_a_catalogue_that_is_not_thorough_examines_what_it_is_asked_for(
    folders: Folders, loras: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue_module, "PATIENCE", -1.0)
    for number in range(3):
        write_tensors(loras / f"{number}.safetensors", LORA)
    with Catalogue(folders, is_thorough=False) as catalogue:
        assert [entry.examined for entry in catalogue.entries("lora")] == [False] * 3
        assert catalogue.find("lora", "1").family == "sd1"  # type: ignore[union-attr]
        assert not catalogue._background


def test_files_that_stay_locked_do_not_keep_the_background_busy(
    catalogue: Catalogue, loras: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(kind: str, path: Path) -> Facts:
        return Facts(error="cannot be read", is_fleeting=True)

    monkeypatch.setattr(catalogue_module, "examine", locked)
    monkeypatch.setattr(catalogue_module, "PATIENCE", -1.0)
    for number in range(3):
        write_tensors(loras / f"{number}.safetensors", LORA)
    catalogue.entries("lora")
    deadline = time.monotonic() + 60
    while catalogue._background and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not catalogue._background
    assert {entry.error for entry in catalogue.entries("lora")} == {"cannot be read"}


# Hashes


def test_a_hash_is_computed_once_and_shown_in_the_title(catalogue: Catalogue, folders: Folders) -> None:
    # D011, D013
    path = write_tensors(folders.checkpoints[0] / "sub/m.safetensors", SD1)
    entry = catalogue.find_checkpoint("m")
    assert entry and entry.title == "sub/m.safetensors"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert catalogue.sha256(entry).result(timeout=60) == digest
    assert catalogue.sha256(entry).done()
    assert catalogue.shorthash(entry).result(timeout=60) == digest[:10]
    catalogue.refresh("checkpoint")
    assert catalogue.find_checkpoint(digest[:10]).title == f"sub/m.safetensors [{digest[:10]}]"  # type: ignore[union-attr]


def test_a_changed_file_has_another_hash(catalogue: Catalogue, loras: Path) -> None:
    # D013, D023
    first = catalogue.sha256(_only(catalogue, write_tensors(loras / "a.safetensors", LORA))).result(timeout=60)
    second = catalogue.sha256(_only(catalogue, write_tensors(loras / "a.safetensors", LORA, {"a": "b"})))
    assert first != second.result(timeout=60)


@pytest.mark.parametrize("name", ADDNET)
def test_a_loras_short_hash_is_the_references(name: str, catalogue: Catalogue, loras: Path) -> None:
    # D046
    loras.mkdir(parents=True)
    shutil.copy(GOLDEN / f"lora/{name}.safetensors", loras)
    assert catalogue.shorthash(catalogue.entries("lora")[0]).result(timeout=60) == ADDNET[name]


def test_a_loras_short_hash_does_not_change_with_its_metadata(catalogue: Catalogue, loras: Path) -> None:
    # D046
    first = catalogue.shorthash(_only(catalogue, write_tensors(loras / "a.safetensors", LORA))).result(timeout=60)
    second = catalogue.shorthash(_only(catalogue, write_tensors(loras / "a.safetensors", LORA, {"a": "b"})))
    assert first == second.result(timeout=60)


def test_a_hash_written_into_a_lora_is_believed(catalogue: Catalogue, loras: Path) -> None:
    # D046
    entry = _only(catalogue, write_tensors(loras / "a.safetensors", LORA, {"sshs_model_hash": "0123456789abcdef"}))
    assert catalogue.shorthash(entry).result(timeout=0) == "0123456789ab"


def test_hashing_a_file_that_is_gone_says_so(catalogue: Catalogue, loras: Path) -> None:
    entry = _only(catalogue, write_tensors(loras / "a.safetensors", LORA))
    entry.path.unlink()
    with pytest.raises(BadFile, match="cannot be read"):
        catalogue.shorthash(entry).result(timeout=60)


def test_closing_does_not_wait_for_a_long_hash(folders: Folders, loras: Path) -> None:
    path = write_tensors(loras / "a.safetensors", LORA)
    with path.open("r+b") as file:
        file.truncate(2 * 2**40)  # nothing of it is on the disk, and to hash it takes an hour
    catalogue = Catalogue(folders)
    pending = catalogue.sha256(catalogue.entries("lora")[0])
    start = time.monotonic()
    catalogue.close()
    assert time.monotonic() - start < 60
    assert pending.done()


def _only(catalogue: Catalogue, path: Path):  # type: ignore[no-untyped-def]
    catalogue.refresh("lora")
    (entry,) = [entry for entry in catalogue.entries("lora") if entry.path == path]
    return entry


# Watching


@pytest.fixture
def told(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> queue.Queue[str]:
    """The kinds that the catalogue tells of, once it watches; it is as quick as it can be to see that nothing came."""
    monkeypatch.setattr(watch_module, "LOOK_MS", 200)
    monkeypatch.setattr(watch_module, "PAUSE_MS", 50)
    return queue.Queue()


def hear(told: queue.Queue[str], kind: str, holds: Callable[[], bool]) -> set[str]:
    """The kinds told of until this one was and something holds; of one writing the system may tell several times."""
    kinds = set()
    while True:
        kinds.add(told.get(timeout=60))
        if kind in kinds and holds():
            return kinds


def test_files_that_come_change_and_go_are_told_of(
    catalogue: Catalogue, folders: Folders, told: queue.Queue[str]
) -> None:
    loras, embeddings = folders.loras[0], folders.embeddings[0]
    loras.mkdir(parents=True)
    catalogue.refresh()
    catalogue.watch(told.put)
    path = write_tensors(loras / "sub/a.safetensors", LORA)
    assert hear(told, "lora", lambda: [entry.family for entry in catalogue.entries("lora")] == ["sd1"]) == {"lora"}
    path.with_suffix(".json").write_text('{"description": "Ink"}')
    described = lambda: [entry.description for entry in catalogue.entries("lora")] == ["Ink"]  # noqa: E731
    assert hear(told, "lora", described) == {"lora"}
    path.unlink()
    assert hear(told, "lora", lambda: catalogue.entries("lora") == ()) == {"lora"}
    write_tensors(embeddings / "b.safetensors", EMBEDDING)
    there = lambda: [entry.name for entry in catalogue.entries("embedding")] == ["b"]  # noqa: E731
    assert hear(told, "embedding", there) <= {"lora", "embedding"}


def test_what_changes_before_the_system_has_begun_to_notify_is_told_of(
    catalogue: Catalogue, loras: Path, told: queue.Queue[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = watchfiles.watch

    def late(*paths: Path, **more: object) -> object:
        if not (loras / "a.safetensors").exists():
            write_tensors(loras / "a.safetensors", LORA)
        return watch(*paths, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(watchfiles, "watch", late)
    loras.mkdir(parents=True)
    assert catalogue.entries("lora") == ()
    catalogue.watch(told.put)
    hear(told, "lora", lambda: [entry.name for entry in catalogue.entries("lora")] == ["a"])
    assert set(catalogue._shelves) == {"lora"}, "what nobody has asked for is not scanned"


def test_where_the_system_cannot_notify_the_folders_are_compared(
    catalogue: Catalogue, loras: Path, told: queue.Queue[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    watch, looked = watchfiles.watch, threading.Event()

    def limited(*paths: Path, force_polling: bool, **more: object) -> Iterator[object]:
        if not force_polling:
            raise OSError(28, "OS file watch limit reached")
        for changes in watch(*paths, force_polling=True, **more | {"poll_delay_ms": 50}):  # type: ignore[arg-type]
            yield changes
            looked.set()

    monkeypatch.setattr(watchfiles, "watch", limited)
    loras.mkdir(parents=True)
    catalogue.refresh()
    catalogue.watch(told.put)
    assert looked.wait(60)
    write_tensors(loras / "a.safetensors", LORA)
    hear(told, "lora", lambda: [entry.name for entry in catalogue.entries("lora")] == ["a"])


def test_a_download_under_way_is_not_told_of(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    loras, vaes = folders.loras[0], folders.vaes[0]
    for folder in (loras, vaes):
        folder.mkdir(parents=True)
    monkeypatch.setattr(watch_module, "LOOK_MS", 200)
    told: queue.Queue[frozenset[str]] = queue.Queue()
    begun = threading.Event()
    watch = watch_module.Watch(lambda: {"lora": (loras,), "vae": (vaes,)}, told.put, begun.set)
    try:
        assert begun.wait(60)
        (loras / "a.safetensors.part").write_bytes(b"x" * 1000)
        (vaes / "b.safetensors").write_bytes(b"x" * 1000)
        assert told.get(timeout=60) == {"vae"}, "the system tells of both in their order"
    finally:
        watch.close()


def test_watching_nothing_and_closing_at_once_is_fine(folders: Folders) -> None:
    catalogue = Catalogue(folders)
    catalogue.watch(lambda _: None)
    catalogue.close()


def test_the_package_loads_no_torch_and_starts_no_thread() -> None:
    code = "import sys, threading, modules.catalogue; sys.exit('torch' in sys.modules or threading.active_count() > 1)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0


def test_files_that_came_or_went_this_moment_are_among_the_current_entries(
    folders: Folders, catalogue: Catalogue
) -> None:
    # P094: in sub-folders too
    words = folders.embeddings[0]
    (words / "mine").mkdir(parents=True)
    os.utime(words / "mine", ns=(0, 0))  # the clock of files goes in steps: what follows would else fall into one
    assert catalogue.current_entries("embedding") == ()
    path = write_tensors(words / "mine" / "word.safetensors", EMBEDDING)
    assert [entry.name for entry in catalogue.current_entries("embedding")] == ["word"]
    os.utime(words / "mine", ns=(0, 0))
    assert [entry.name for entry in catalogue.current_entries("embedding")] == ["word"]
    path.unlink()
    assert catalogue.current_entries("embedding") == ()
