"""What a file is, is told by its content: a wrong name neither hides harm nor makes a good file useless (R001)."""

from __future__ import annotations

import os
import pickle
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from modules.catalogue import UnsafePickle, is_safetensors
from modules.catalogue.examine import examine
from modules.models import read_weights
from modules.params import BadFile

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b.bias": torch.ones(4, dtype=torch.float16)}
NAMES = ("x.safetensors", "x.sft", "x.pt", "x.ckpt", "x.bin", "x")


def written(folder: Path, form: str) -> Path:
    path = folder / f"{form}.made"
    if form == "safetensors":
        save_file(TENSORS, path)
    else:
        torch.save(TENSORS, path, _use_new_zipfile_serialization=form == "zip")
    return path


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", ["safetensors", "zip", "legacy"])
def test_a_good_file_is_read_whatever_it_is_called(tmp_path: Path, form: str, name: str) -> None:
    path = shutil.copy(written(tmp_path, form), tmp_path / name)
    assert is_safetensors(path) == (form == "safetensors")
    found = read_weights(path).tensors
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[key], tensor) for key, tensor in TENSORS.items())


class Harm:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("echo harm",)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_harm_is_found_under_every_name(
    tmp_path: Path, form: str, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    torch.save({"a": Harm(), **TENSORS}, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(UnsafePickle, match="could run code"):
        read_weights(path)
    for kind in ("checkpoint", "lora", "embedding", "hypernetwork", "vae"):
        assert "could run code" in (examine(kind, path).error or "")
    assert "harm" not in capfd.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_a_bare_pickle_is_no_weights_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(pickle.dumps({"a": Harm()}))
    with pytest.raises(BadFile):
        read_weights(tmp_path / name)


@pytest.mark.parametrize(
    "member",
    ["archive/code.py", "archive/data/0.py", "archive/../data/0", "archive/extra/x", "archive/constants.pkl", "code/x",
     "archive/data/0/../../x", "archive/data/-1", "archive/DATA.PKL", "archive/data.pkl.py"],
)  # fmt: skip
def test_an_archive_holds_what_pytorch_writes_and_nothing_else(tmp_path: Path, member: str) -> None:
    path = written(tmp_path, "zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(member, b"x")
    with pytest.raises(UnsafePickle, match="no weights file does"):
        read_weights(path)


def test_a_mark_that_unpacks_to_gigabytes_is_not_unpacked(tmp_path: Path) -> None:
    made, path = written(tmp_path, "zip"), tmp_path / "bomb.pt"
    with zipfile.ZipFile(made) as good, zipfile.ZipFile(path, "w") as archive:
        for member in good.infolist():
            if not member.filename.endswith("byteorder"):
                archive.writestr(member, good.read(member))
        name = next(iter(good.namelist())).partition("/")[0]
        archive.writestr(f"{name}/byteorder", bytes(2**26), zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**20
    with pytest.raises(BadFile, match="order of another kind"):
        read_weights(path)


@pytest.mark.parametrize("length", [420, 448, 449])
def test_a_pickle_cut_within_a_number_is_damaged(tmp_path: Path, length: int) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(written(tmp_path, "legacy").read_bytes()[:length])
    with pytest.raises(BadFile, match="damaged"):
        read_weights(path)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_no_damage_under_any_name_gives_another_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damage")
    bytes_ = bytearray(written(folder, data.draw(st.sampled_from(["safetensors", "zip", "legacy"]))).read_bytes())
    for _ in range(data.draw(st.integers(0, 4))):
        bytes_[data.draw(st.integers(0, len(bytes_) - 1))] = data.draw(st.integers(0, 255))
    path = folder / data.draw(st.sampled_from(NAMES))
    path.write_bytes(bytes_[: data.draw(st.integers(0, len(bytes_)))])
    try:
        read_weights(path)
    except BadFile as error:
        assert path.name in str(error)
