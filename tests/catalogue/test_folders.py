"""Where files are looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from modules.catalogue import KINDS, Catalogue, Folders

from .files import EMBEDDING, LORA, SD1, write_tensors

PROGRAM = Path("/opt/tagbrush")
MINE = Path("/home/me/webui")


def test_without_arguments_everything_is_in_the_program() -> None:
    # D001
    folders = Folders.from_args(shipped=PROGRAM)
    assert folders.checkpoints == (PROGRAM / "models/Stable-diffusion",)
    assert folders.loras == (PROGRAM / "models/Lora", PROGRAM / "models/LyCORIS")
    assert folders.embeddings == (PROGRAM / "embeddings",)
    assert folders.outputs == PROGRAM / "outputs"


@pytest.mark.parametrize("kind", KINDS)
def test_with_a_data_folder_the_users_files_come_first_and_the_shipped_last(kind: str) -> None:
    # D001
    places = Folders.from_args(shipped=PROGRAM, data_dir=MINE).of(kind)  # type: ignore[arg-type]
    assert places[0].is_relative_to(MINE)
    assert places[-1].is_relative_to(PROGRAM)


def test_an_argument_for_one_kind_comes_before_the_usual_place() -> None:
    # D001, D010, D020, D040
    folders = Folders.from_args(shipped=PROGRAM, data_dir=MINE, lora_dir=Path("/nas/lora"), models_dir=Path("/big"))
    assert folders.loras[:2] == (Path("/nas/lora"), Path("/big/Lora"))
    assert folders.checkpoints[0] == Path("/big/Stable-diffusion")
    assert folders.embeddings[0] == MINE / "embeddings"


def test_only_outputs_and_databases_lie_in_the_data_folder() -> None:
    folders = Folders.from_args(shipped=PROGRAM, data_dir=MINE)
    assert {folders.outputs, folders.database, folders.index} == {
        MINE / "outputs",
        MINE / "tagbrush.db",
        MINE / "tagbrush-index.db",
    }


def test_a_relative_folder_is_one_below_the_current(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert Folders.from_args(shipped=PROGRAM, data_dir=Path("data")).data_dir == tmp_path / "data"


def test_making_folders_up_creates_none(tmp_path: Path) -> None:
    Folders.from_args(shipped=tmp_path / "a", data_dir=tmp_path / "b")
    assert not list(tmp_path.iterdir())


def test_nothing_in_an_existing_folder_is_touched_but_the_index(tmp_path: Path) -> None:
    write_tensors(tmp_path / "models/Stable-diffusion/a.safetensors", SD1)
    write_tensors(tmp_path / "models/Lora/b.safetensors", LORA)
    write_tensors(tmp_path / "embeddings/c.safetensors", EMBEDDING)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    folders = Folders.from_args(shipped=tmp_path / "program", data_dir=tmp_path)
    with Catalogue(folders, folders.index) as catalogue:
        assert all(catalogue.entries(kind) for kind in ("checkpoint", "lora", "embedding"))
    after = {
        path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if not path.name.startswith("tagbrush-index")
    }
    assert before == after


def test_styles_are_in_the_data_folder_unless_files_are_named() -> None:
    # D062
    assert Folders.from_args(shipped=PROGRAM, data_dir=MINE).styles == (
        MINE / "styles.csv",
        MINE / "styles_integrated.csv",
    )
    files = [Path("/a/mine.csv"), Path("/packs/*.csv"), Path("/a/mine.csv")]
    assert Folders.from_args(shipped=PROGRAM, styles_files=files).styles == (files[0], files[1])
