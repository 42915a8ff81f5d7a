"""Checkpoints stay in memory for the next job, and a changed VAE is all that is read anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from modules.catalogue import Entry
from modules.engine.checkpoints import Checkpoints
from modules.params import BadFile
from tests.golden_models import VAE_NAME, write_golden_models

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_golden_models(folder, folder)
    return folder


def entry(path: Path, kind: str = "checkpoint") -> Entry:
    status = path.stat()
    return Entry(kind, path, name=path.stem, size=status.st_size, mtime_ns=status.st_mtime_ns)


def test_a_vae_is_changed_without_reading_the_checkpoint_and_its_own_comes_back_bit_for_bit(folder: Path) -> None:
    """D022."""
    told: list[str] = []
    checkpoints = Checkpoints(CPU, told.append)
    checkpoint, vae = entry(folder / "tiny_sd1.safetensors"), entry(folder / VAE_NAME, "vae")
    first = checkpoints.acquire(checkpoint)
    before = {name: weight.clone() for name, weight in first.vae.state_dict().items()}
    other = checkpoints.acquire(checkpoint, vae)
    assert other.unet is first.unet
    assert not torch.equal(other.vae.decoder.conv_out.weight, first.vae.decoder.conv_out.weight)
    assert checkpoints.acquire(checkpoint, vae) is other
    again = checkpoints.acquire(checkpoint)
    assert again.vae is first.vae
    assert all(torch.equal(weight, before[name]) for name, weight in again.vae.state_dict().items())
    assert told == ["Loading tiny_sd1", "", "Loading tinyvae", "", "Loading tiny_sd1", ""]


def test_a_file_or_its_yaml_that_changed_is_loaded_again(folder: Path, tmp_path: Path) -> None:
    """D013."""
    path = tmp_path / "model.safetensors"
    path.write_bytes((folder / "tiny_sd1.safetensors").read_bytes())
    checkpoints = Checkpoints(CPU)
    config = (folder / "tiny_v.yaml").read_text(encoding="utf-8")
    assert checkpoints.acquire(entry(path)).prediction_type == "epsilon"
    path.with_suffix(".yaml").write_text(config, encoding="utf-8")
    as_v = checkpoints.acquire(entry(path))
    assert as_v.prediction_type == "v"
    os.utime(path, ns=(1, 1))  # an older time is a change too
    assert checkpoints.acquire(entry(path)) is not as_v


def test_the_model_used_longest_ago_makes_room(folder: Path) -> None:
    one, two, three = (entry(folder / f"tiny_{name}.safetensors") for name in ("sd1", "v", "refiner"))
    checkpoints = Checkpoints(CPU, limit=2)
    first, second = checkpoints.acquire(one), checkpoints.acquire(two)
    assert checkpoints.acquire(one) is first
    checkpoints.acquire(three)
    assert checkpoints.acquire(one) is first
    assert checkpoints.acquire(two) is not second


def test_how_many_models_stay_is_a_setting(folder: Path) -> None:
    """D017."""
    one, two = (entry(folder / f"tiny_{name}.safetensors") for name in ("sd1", "v"))
    checkpoints = Checkpoints(CPU)
    first = checkpoints.acquire(one)
    checkpoints.limit = 2
    checkpoints.acquire(two)
    assert checkpoints.acquire(one) is first


def test_a_vae_that_cannot_be_read_leaves_the_model_in_memory(folder: Path, tmp_path: Path) -> None:
    checkpoints = Checkpoints(CPU)
    checkpoint = entry(folder / "tiny_sd1.safetensors")
    first = checkpoints.acquire(checkpoint)
    broken = tmp_path / "broken.vae.safetensors"
    broken.write_bytes(b"nothing")
    with pytest.raises(BadFile, match="broken"):
        checkpoints.acquire(checkpoint, entry(broken, "vae"))
    assert checkpoints.acquire(checkpoint) is first


def test_a_lower_number_of_models_frees_memory_with_the_next_job(folder: Path) -> None:
    """D017."""
    one, two = (entry(folder / f"tiny_{name}.safetensors") for name in ("sd1", "v"))
    checkpoints = Checkpoints(CPU, limit=2)
    first, second = checkpoints.acquire(one), checkpoints.acquire(two)
    checkpoints.limit = 1
    assert checkpoints.acquire(two) is second
    checkpoints.limit = 2
    assert checkpoints.acquire(one) is not first
