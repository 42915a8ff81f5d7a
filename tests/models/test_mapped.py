"""Files are mapped into memory, whatever they say of themselves stays inside them, and what was copied is let go."""

from __future__ import annotations

import io
import os
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from modules.models import read_weights
from modules.models.mapped import MappedFile
from modules.params import BadFile
from tests.models import small
from tests.models.small import FAMILIES

DTYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
]


def variety() -> dict[str, torch.Tensor]:
    """A tensor of every type, and ones of every odd shape."""
    tensors = {str(dtype): torch.arange(-3, 21).view(4, 6).to(dtype) for dtype in DTYPES}
    return tensors | {"scalar": torch.tensor(2.5), "none": torch.zeros(0, 3), "single": torch.ones(1, 1, 1)}


@pytest.mark.parametrize("form", ["safetensors", "zip", "legacy"])
def test_every_type_and_shape_is_read_as_it_was_written(form: str, tmp_path: Path) -> None:
    path = tmp_path / ("file.safetensors" if form == "safetensors" else "file.ckpt")
    written = {name: tensor for name, tensor in variety().items() if form != "legacy" or "float8" not in name}
    if form == "safetensors":
        save_file(written, path)
    else:
        torch.save(written, path, _use_new_zipfile_serialization=form == "zip")
    tensors = read_weights(path).tensors
    assert tensors.keys() == written.keys()
    for name, wanted in written.items():
        assert tensors[name].dtype is wanted.dtype
        assert tensors[name].shape == wanted.shape
        assert torch.equal(tensors[name].view(torch.uint8), wanted.view(torch.uint8)) if wanted.ndim else True
        assert tensors[name].tolist() == wanted.tolist() or wanted.is_floating_point()


def test_views_that_share_memory_in_a_pytorch_file(tmp_path: Path) -> None:
    whole = torch.arange(24.0).view(4, 6)
    views = {"whole": whole, "turned": whole.T, "part": whole[1:3, 2:5], "every other": whole[::2, ::3]}
    torch.save(views, tmp_path / "file.pt")
    tensors = read_weights(tmp_path / "file.pt").tensors
    assert all(torch.equal(tensors[name], wanted) for name, wanted in views.items())


def test_tensors_whose_place_is_uneven(tmp_path: Path) -> None:
    """Early writers of the format did not pad its header."""
    path = tmp_path / "file.safetensors"
    header = b'{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}  '
    for padding in range(8):
        text = header + b" " * padding
        path.write_bytes(len(text).to_bytes(8, "little") + text + torch.tensor([1.5, -2.0]).numpy().tobytes())
        assert read_weights(path).tensors["x"].tolist() == [1.5, -2.0]


def rezipped(path: Path, change: object = None, compression: int = zipfile.ZIP_STORED) -> None:
    """The archive written anew, its members changed by `change(name, content)`."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, change(name, content) if callable(change) else content)


def test_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.ckpt"
    torch.save({"x": torch.zeros(1_000_000)}, path)
    rezipped(path, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 100_000
    with pytest.raises(BadFile, match="compressed"):
        read_weights(path)


def test_numbers_in_another_machines_order_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.ckpt"
    torch.save({"x": torch.ones(3)}, path)
    rezipped(path, lambda name, content: b"big" if name.endswith("byteorder") else content)
    with pytest.raises(BadFile, match="order"):
        read_weights(path)


def test_a_missing_storage_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "file.ckpt"
    torch.save({"x": torch.ones(3)}, path)
    rezipped(path, lambda name, content: content[:4] if name.endswith("data/0") else content)
    with pytest.raises(BadFile, match="larger than its storage"):
        read_weights(path)


def test_a_tensor_that_repeats_its_storage_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.ckpt"
    torch.save({"x": torch.ones(1).expand(10**12)}, path)
    with pytest.raises(BadFile, match="larger than its storage"):
        read_weights(path)


def test_a_small_file_that_describes_a_large_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.ckpt"
    shared = torch.ones(100_000)
    torch.save({str(index): shared[:] for index in range(100)}, path)
    with pytest.raises(BadFile, match="far more than is in it"):
        read_weights(path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@settings(max_examples=60, deadline=None)
@given(data=st.data(), zipped=st.booleans())
def test_a_damaged_pytorch_file_never_does_worse_than_being_refused(
    data: st.DataObject, zipped: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    buffer = io.BytesIO()
    content = {"state_dict": {"a": torch.ones(3, 4), "b": torch.zeros(2)}}
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    damaged = bytearray(buffer.getvalue())
    if data.draw(st.booleans()):
        del damaged[data.draw(st.integers(0, len(damaged))) :]
    for _ in range(data.draw(st.integers(0, 6))):
        if damaged:
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "file.ckpt"  # another's mapping of it may be there still
    path.write_bytes(bytes(damaged))
    try:
        tensors = read_weights(path).tensors
    except BadFile:
        return
    assert sum(tensor.nbytes for tensor in tensors.values()) < 10 * len(damaged)


def test_a_tensor_stays_inside_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(100))
    mapped = MappedFile(path)
    for shape, offset in (((26,), 0), ((1,), 97), ((1,), -4), ((2**62,), 0), ((-1,), 0)):
        with pytest.raises(ValueError, match="outside"):
            mapped.tensor(torch.float32, shape, offset)
    assert mapped.tensor(torch.float32, (25,), 0).sum() == 0


def test_a_tensor_without_numbers_has_sides_within_measure(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(100))
    assert MappedFile(path).tensor(torch.float32, (0, 5), 0).shape == (0, 5)
    with pytest.raises(ValueError, match="beyond measure"):
        MappedFile(path).tensor(torch.float32, (0, 2, 2**62), 0)


def resident_file_pages() -> int:
    """Bytes of mapped files in this process's memory."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("RssFile")))


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux what is in memory")
def test_what_was_copied_is_let_go_and_read_again_when_asked_for(tmp_path: Path) -> None:
    path, size = tmp_path / "file", 64 * 2**20
    path.write_bytes(os.urandom(2**20) * 64)
    mapped = MappedFile(path)
    whole = mapped.tensor(torch.uint8, (size,), 0)
    torch.zeros(2**20, dtype=torch.uint8).sum()  # the code that does it comes from mapped files too
    before = resident_file_pages()
    total = whole.sum()
    assert resident_file_pages() - before > 0.9 * size
    mapped.forget(whole)
    assert resident_file_pages() - before < 0.1 * size
    assert whole.sum() == total
    mapped.forget(torch.zeros(5))  # of no file: nothing happens


def test_a_whole_checkpoint_reads_the_same_from_both_kinds_of_file(tmp_path: Path) -> None:
    structure = FAMILIES["sd1"]
    networks = small.write(tmp_path / "a.safetensors", structure)
    small.write(tmp_path / "a.ckpt", structure, networks)
    one, other = (read_weights(tmp_path / f"a.{form}").tensors for form in ("safetensors", "ckpt"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
