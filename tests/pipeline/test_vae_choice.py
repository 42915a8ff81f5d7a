"""Which VAE a checkpoint is used with (D021, D022)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modules.catalogue import Catalogue, Folders
from modules.params import Settings, UnknownName, make_request
from modules.pipeline.choices import choose_vae
from tests.catalogue.files import SD1, write_tensors

DECODER = {"decoder.conv_in.weight": (1, 1)}
Chosen = Callable[..., str | None]


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    folders = Folders.from_args(shipped=tmp_path / "program", data_dir=tmp_path)
    write_tensors(folders.checkpoints[0] / "dream.safetensors", SD1)
    for name in ("set", "carded"):
        write_tensors(folders.vaes[0] / f"{name}.safetensors", DECODER)
    return folders


@pytest.fixture
def chosen(folders: Folders) -> Chosen:
    def choose(sd_vae: str = "Automatic", **given: Any) -> str | None:
        """The stem of the VAE chosen, None for the checkpoint's own."""
        wants_error = given.pop("override", False)
        settings = Settings(sd_vae=sd_vae, **given)
        request = make_request({"task": "txt2img", "override_settings": {"sd_vae": sd_vae} if wants_error else {}})
        told: list[str] = []
        with Catalogue(folders) as catalogue:
            entry = choose_vae(request, settings, catalogue.find_checkpoint("dream"), catalogue, told.append)  # type: ignore[arg-type]
        choose.told = told  # type: ignore[attr-defined]
        return entry.name if entry else None

    return choose


def test_the_setting_of_early_versions_leaves_the_choice_open_too(chosen: Chosen, folders: Folders) -> None:
    beside(folders)
    assert chosen("auto", override=True) == "dream.vae"
    assert chosen.told == []  # type: ignore[attr-defined]


def beside(folders: Folders, name: str = "dream.vae.safetensors") -> None:
    write_tensors(folders.checkpoints[0] / name, DECODER)


def carded(folders: Folders, name: str) -> None:
    (folders.checkpoints[0] / "dream.json").write_text(json.dumps({"vae": name}))


def test_of_itself_a_checkpoint_has_its_own(chosen: Chosen) -> None:
    assert chosen() is None


def test_a_file_of_the_exact_stem_beside_it_is_taken(chosen: Chosen, folders: Folders) -> None:
    # D021: and not that of dreamlike
    beside(folders, "dreamlike.vae.safetensors")
    assert chosen() is None
    beside(folders)
    assert chosen() == "dream.vae"


def test_the_setting_goes_before_all_that_lies_beside(chosen: Chosen, folders: Folders) -> None:
    # D021
    beside(folders)
    carded(folders, "carded.safetensors")
    assert chosen("set.safetensors") == "set"
    assert chosen("None") is None


def test_the_card_goes_before_the_file_beside(chosen: Chosen, folders: Folders) -> None:
    # D021
    beside(folders)
    carded(folders, "carded.safetensors")
    assert chosen() == "carded"
    carded(folders, "None")
    assert chosen() is None
    carded(folders, "Automatic")
    assert chosen() == "dream.vae"


def test_the_setting_gives_way_where_it_is_told_to(chosen: Chosen, folders: Folders) -> None:
    # D021: sd_vae_overrides_per_model_preferences off
    gives_way = {"sd_vae_overrides_per_model_preferences": False}
    assert chosen("set.safetensors", **gives_way) == "set"
    beside(folders)
    assert chosen("set.safetensors", **gives_way) == "dream.vae"
    carded(folders, "carded.safetensors")
    assert chosen("set.safetensors", **gives_way) == "carded"
    carded(folders, "None")
    assert chosen("set.safetensors", **gives_way) is None


def test_a_vae_that_is_gone_is_told_and_the_next_rule_counts(chosen: Chosen, folders: Folders) -> None:
    # D021
    carded(folders, "gone.pt")
    beside(folders)
    assert chosen() == "dream.vae"
    assert "gone.pt" in chosen.told[0]  # type: ignore[attr-defined]
    with pytest.raises(UnknownName, match=r"gone\.pt"):
        chosen("gone.pt", override=True)


def test_the_command_lines_vae_goes_before_everything(tmp_path: Path, folders: Folders) -> None:
    # D021
    fixed = write_tensors(tmp_path / "fixed.safetensors", DECODER)
    beside(folders)
    with Catalogue(Folders.from_args(shipped=tmp_path / "program", data_dir=tmp_path, vae_path=fixed)) as catalogue:
        checkpoint = catalogue.find_checkpoint("dream")
        request = make_request({"task": "txt2img"})
        found = choose_vae(request, Settings(sd_vae="set.safetensors"), checkpoint, catalogue, print)  # type: ignore[arg-type]
        assert found is not None
        assert found.path == fixed
