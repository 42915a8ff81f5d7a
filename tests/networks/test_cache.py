"""Parsed files are kept as long as they fit and have not changed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from modules.models import Model
from modules.networks import Embedding, Hypernetwork, Lora, NetworkCache
from modules.params import BadFile

from .conftest import GOLDEN


def embedding(path: Path, value: float = 0.0) -> Path:
    save_file({"emb_params": torch.full((1, 64), value)}, path)
    return path


def test_a_file_is_read_once(tmp_path: Path) -> None:
    cache, path = NetworkCache(), embedding(tmp_path / "a.safetensors")
    assert cache.embedding(path) is cache.embedding(path)


def test_a_changed_file_is_read_again_and_the_old_one_forgotten(tmp_path: Path) -> None:
    cache, path = NetworkCache(), embedding(tmp_path / "a.safetensors")
    before = cache.embedding(path)
    embedding(path, 1.0)
    os.utime(path, ns=(1, 1))
    after = cache.embedding(path)
    assert after is not before
    assert after.vectors["clip_l"].sum() == 64
    assert cache.nbytes == after.nbytes


def test_the_budget_drops_what_was_unused_longest(tmp_path: Path) -> None:
    paths = [embedding(tmp_path / f"{name}.safetensors") for name in "abc"]
    cache = NetworkCache(limit_bytes=2 * 64 * 4)
    first, second = cache.embedding(paths[0]), cache.embedding(paths[1])
    assert cache.embedding(paths[0]) is first
    cache.embedding(paths[2])
    assert cache.nbytes <= cache.limit_bytes
    assert cache.embedding(paths[0]) is first
    assert cache.embedding(paths[1]) is not second


def test_a_file_beyond_the_budget_is_given_but_not_kept(tmp_path: Path) -> None:
    cache = NetworkCache(limit_bytes=10)
    assert cache.embedding(embedding(tmp_path / "a.safetensors")).count == 1
    assert cache.nbytes == 0


def test_each_kind_has_its_reader() -> None:
    cache = NetworkCache()
    assert isinstance(cache.lora(GOLDEN / "lora" / "lin.safetensors"), Lora)
    assert isinstance(cache.hypernetwork(GOLDEN / "hypernetworks" / "h_gelu.pt"), Hypernetwork)
    assert isinstance(cache.embedding(GOLDEN / "embeddings" / "tipt3.pt"), Embedding)


def test_a_broken_file_leaves_nothing_behind(tmp_path: Path) -> None:
    cache, path = NetworkCache(), tmp_path / "a.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(BadFile):
        cache.lora(path)
    assert cache.nbytes == 0


def test_changing_only_the_weight_never_reads_the_file(tmp_path: Path, model: Model) -> None:
    cache, path = NetworkCache(), tmp_path / "a.safetensors"
    shutil.copy2(GOLDEN / "lora" / "lin.safetensors", path)
    before = path.stat()
    (wanted, *_) = cache.lora(path).patches(model, 0.8).patches
    path.write_bytes(bytes(before.st_size))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    (other, *_) = cache.lora(path).patches(model, 0.4).patches
    weight = torch.zeros(64, 64)
    assert torch.allclose(other.delta(weight) * 2, wanted.delta(weight))
