"""Reading PyTorch files without PyTorch, and without running what is in them."""

from __future__ import annotations

import collections
import io
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.catalogue.pickle_machine import ForbiddenGlobal, PickleError, read_pickle
from modules.catalogue.pickles import UnsafePickle, check_pickle, read_stubs
from modules.catalogue.stubs import TensorStub
from modules.params import BadFile

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
PYTORCH_FILES = sorted([*GOLDEN.glob("embeddings/*.pt"), *GOLDEN.glob("embeddings/*.bin"), *GOLDEN.glob("hyper*/*.pt")])


class Calls:
    """An object whose unpickling calls a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


def zipped(path: Path, contents: Any, extra: dict[str, bytes] | None = None) -> Path:
    """A file laid out as torch.save does, with the given object as its pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(contents, protocol=2))
        archive.writestr("archive/version", b"3\n")
        for name, data in (extra or {}).items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("path", PYTORCH_FILES, ids=lambda path: path.name)
def test_every_real_file_of_the_reference_is_accepted(path: Path) -> None:
    check_pickle(path)


def test_shapes_and_types_are_read_from_both_layouts() -> None:
    half = read_stubs(GOLDEN / "embeddings/tihalf.pt")
    old = read_stubs(GOLDEN / "embeddings/tilegacy.pt")
    assert half["string_to_param"] == {"*": TensorStub("F16", (1, 64))}
    assert old["string_to_param"] == {"*": TensorStub("F32", (2, 64))}
    assert old["step"] == 3


def test_a_hypernetwork_keeps_its_integer_keys_and_pairs() -> None:
    keys, values = read_stubs(GOLDEN / "hypernetworks/h_gelu.pt")[64]
    assert keys["linear.0.weight"] == values["linear.0.weight"] == TensorStub("F32", (128, 64))


@pytest.mark.parametrize(
    "function",
    [os.system, subprocess.Popen, eval, getattr, open, print, io.BytesIO, __import__],
    ids=lambda f: f.__name__,
)
def test_a_pickle_that_would_run_code_is_refused_by_name(function: Any, tmp_path: Path) -> None:
    path = zipped(tmp_path / "bad.pt", {"a": Calls(function, "touch /tmp/never")})
    with pytest.raises(UnsafePickle, match=function.__name__) as caught:
        check_pickle(path)
    assert "bad.pt" in str(caught.value)


def test_an_old_layout_that_would_run_code_is_refused_too(tmp_path: Path) -> None:
    path = tmp_path / "bad.ckpt"
    parts = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, Calls(os.system, "true")]
    path.write_bytes(b"".join(pickle.dumps(part, protocol=2) for part in parts))
    with pytest.raises(UnsafePickle, match="system"):
        check_pickle(path)


def test_code_hidden_before_the_magic_number_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.pt"
    path.write_bytes(pickle.dumps(Calls(os.system, "true"), protocol=2))
    with pytest.raises(UnsafePickle, match="system"):
        check_pickle(path)


def test_nothing_is_run_while_a_pickle_is_refused(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    path = zipped(tmp_path / "bad.pt", [Calls(Path.touch, witness), Calls(os.mkdir, str(witness))])
    with pytest.raises(UnsafePickle):
        check_pickle(path)
    assert not witness.exists()


@pytest.mark.parametrize("protocol", range(2, 6))
def test_a_forbidden_name_is_found_whatever_the_protocol(protocol: int) -> None:
    with pytest.raises(ForbiddenGlobal, match="system"):
        read_pickle(io.BytesIO(pickle.dumps(Calls(os.system, "true"), protocol=protocol)))


def test_a_whitelisted_name_cannot_be_walked_to_another(tmp_path: Path) -> None:
    smuggled = b"\x80\x04\x8c\x0bcollections\x8c\x14OrderedDict.__init__\x93."
    with pytest.raises(ForbiddenGlobal, match="__init__"):
        read_pickle(io.BytesIO(smuggled))


def test_a_call_of_something_that_is_no_function_is_refused() -> None:
    with pytest.raises(PickleError, match="called"):
        read_pickle(io.BytesIO(b"\x80\x02X\x04\x00\x00\x00evil)R."))


def test_an_archive_with_a_foreign_member_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "bad.pt", {}, {"archive/code/__init__.py": b"raise SystemExit"})
    with pytest.raises(UnsafePickle, match=r"code/__init__\.py"):
        check_pickle(path)


def test_the_members_that_newer_versions_write_are_known(tmp_path: Path) -> None:
    names = ["byteorder", ".format_version", ".storage_alignment", ".data/serialization_id", "data/0", "data/11"]
    check_pickle(zipped(tmp_path / "good.pt", {}, {f"archive/{name}": b"1" for name in names}))


def test_a_zip_that_is_no_model_says_so(tmp_path: Path) -> None:
    path = tmp_path / "photos.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("holiday.txt", "sun")
    with pytest.raises(BadFile, match="not one that PyTorch wrote"):
        check_pickle(path)


def test_a_truncated_archive_is_damaged_and_not_unsafe(tmp_path: Path) -> None:
    whole = (GOLDEN / "embeddings/tipt3.pt").read_bytes()
    path = tmp_path / "half.pt"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadFile, match="Download it again") as caught:
        check_pickle(path)
    assert not isinstance(caught.value, UnsafePickle)


@pytest.mark.parametrize("contents", [b"", b"PK\x03\x04", b"<!DOCTYPE html>", b"\x80\x02", b"\x00" * 100])
def test_a_file_of_another_kind_is_a_bad_file(contents: bytes, tmp_path: Path) -> None:
    path = tmp_path / "page.pt"
    path.write_bytes(contents)
    with pytest.raises(BadFile):
        check_pickle(path)


def test_a_missing_file_is_a_bad_file(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="cannot be read"):
        check_pickle(tmp_path / "gone.pt")


def test_a_length_of_gigabytes_in_a_small_file_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt"
    path.write_bytes(b"\x80\x04\x8e" + (2**40).to_bytes(8, "little") + b"x")
    with pytest.raises(BadFile, match=r"larger than any model needs|no PyTorch file"):
        check_pickle(path)


def test_a_key_nested_a_million_deep_does_not_crash_the_interpreter() -> None:
    with pytest.raises(PickleError, match="key"):
        read_pickle(io.BytesIO(b"\x80\x02}N" + b"\x85" * 1_000_000 + b"Ns."))


def test_an_ordered_dict_with_attributes_reads_as_its_entries() -> None:
    state = collections.OrderedDict([("weight", 1), ("bias", 2)])
    state._metadata = {"": {"version": 1}}  # type: ignore[attr-defined]  # as torch's state dicts carry it
    assert read_pickle(io.BytesIO(pickle.dumps(state, protocol=2))) == {"weight": 1, "bias": 2}


KEYS = st.text(max_size=8) | st.integers() | st.booleans() | st.none()
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner) | st.tuples(inner, inner, inner, inner),
    max_leaves=20,
)


@settings(deadline=None)
@given(PLAIN, st.integers(0, 5))
def test_plain_values_read_as_python_would_read_them(value: Any, protocol: int) -> None:
    assert read_pickle(io.BytesIO(pickle.dumps(value, protocol=protocol))) == value


@settings(deadline=None)
@given(st.data())
def test_damage_anywhere_gives_a_bad_file_and_no_other_error(data: st.DataObject) -> None:
    whole = bytearray((GOLDEN / "embeddings/tilegacy.pt").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    stream = io.BytesIO(whole)
    try:
        for _ in range(4):
            read_pickle(stream)
    except (PickleError, ForbiddenGlobal):
        pass


def test_reading_a_file_loads_no_torch() -> None:
    code = (
        "import sys; from modules.catalogue.pickles import check_pickle; "
        f"check_pickle({str(PYTORCH_FILES[0])!r}); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0
