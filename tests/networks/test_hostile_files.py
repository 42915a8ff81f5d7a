"""Whatever is in a network's file, it is read or refused in words: nothing crashes, hangs or runs."""

from __future__ import annotations

import io
import json
import os
import pickle
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from modules.models import Model, PatchError, bare, patched
from modules.networks import load_embedding, load_hypernetwork, load_lora
from modules.networks.errors import NetworkMisfit
from modules.params import BadFile

from .conftest import GOLDEN

Read = Callable[[Path, Model], object]
SECONDS = 60
TO_Q = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"


def lora(path: Path, model: Model) -> object:
    with patched(model, load_lora(path).patches(model, 0.5).patches):
        return None


def hypernetwork(path: Path, model: Model) -> object:
    patches = load_hypernetwork(path).patches(model, 0.5)
    return [patch.keys(torch.ones(1, 2, patch.width)) for patch in patches]


def embedding(path: Path, model: Model) -> object:
    return load_embedding(path).fitted(model)


READERS: dict[str, Read] = {"lora": lora, "hypernetworks": hypernetwork, "embeddings": embedding}
FILES = [path for folder in READERS for path in sorted((GOLDEN / folder).iterdir())]


def fresh(folder: Path, suffix: str) -> Path:
    """A file's name that was never used: what is mapped of an older one must not change."""
    return folder / f"{uuid4().hex}{suffix}"


def read(path: Path, model: Model, reader: Read) -> None:
    """Reads and uses the file, or is told why not; either way soon, and with the model's weights as they were."""
    start = time.monotonic()
    try:
        reader(path, model)
    except (BadFile, NetworkMisfit, PatchError) as error:
        assert str(error)
    assert time.monotonic() - start < SECONDS


@pytest.fixture(scope="module", autouse=True)
def _untouched(model: Model) -> Any:
    before = {name: tensor.clone() for name, tensor in model.unet.state_dict().items()}
    yield
    with patched(model, ()):
        pass
    assert all(torch.equal(bare(model, "unet").state_dict()[name], tensor) for name, tensor in before.items())


CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
fuzzed = settings(max_examples=120, deadline=None, suppress_health_check=CHECKS)


@fuzzed
@given(data=st.data())
def test_files_that_are_cut_or_altered_anywhere(data: st.DataObject, model: Model, tmp_path: Path) -> None:
    path = data.draw(st.sampled_from(FILES))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 6))):
        # the structure lies at both ends: be there more often than in the numbers between
        place = data.draw(st.one_of(st.integers(0, 4000), st.integers(-2000, -1), st.integers(0, len(content) - 1)))
        content[place % len(content)] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.none(), st.integers(0, len(content))))
    other = fresh(tmp_path, path.suffix)
    other.write_bytes(content[:cut])
    read(other, model, READERS[path.parent.name])


@fuzzed
@given(content=st.binary(max_size=400), folder=st.sampled_from(sorted(READERS)), data=st.data())
def test_files_of_random_bytes(content: bytes, folder: str, data: st.DataObject, model: Model, tmp_path: Path) -> None:
    suffix = data.draw(st.sampled_from([".safetensors", ".pt", ".bin", ".ckpt", ".png", ".webp"]))
    head = data.draw(
        st.sampled_from([b"", b"PK\x03\x04", b"\x80\x02}", len(content).to_bytes(8, "little"), b"\x89PNG\r\n"])
    )
    path = fresh(tmp_path, suffix)
    path.write_bytes(head + content)
    read(path, model, READERS[folder])


SIDES = st.sampled_from([0, 1, 2, 32, 64, 2**20, 2**31, 2**62, 2**63 - 1])
ENDINGS = ["lora_up.weight", "lora_down.weight", "lora_mid.weight", "hada_w1_a", "hada_t1", "lokr_w1", "lokr_w2_a"]
HEADERS = st.dictionaries(
    st.sampled_from(
        [f"{TO_Q}.{ending}" for ending in [*ENDINGS, "diff", "oft_blocks", "alpha", "dora_scale", "a1.weight"]]
    ),
    st.tuples(
        st.sampled_from(["F32", "F16", "BF16", "I64", "F8_E4M3", "BOOL", "C64", "X"]), st.lists(SIDES, max_size=5)
    ),
    max_size=6,
)


@fuzzed
@given(header=HEADERS, end=st.sampled_from([0, 4, 64, 4096, 2**40]))
def test_headers_of_absurd_shapes(
    header: dict[str, tuple[str, list[int]]], end: int, model: Model, tmp_path: Path
) -> None:
    described = {
        name: {"dtype": dtype, "shape": shape, "data_offsets": [0, end]} for name, (dtype, shape) in header.items()
    }
    text = json.dumps(described).encode()
    path = fresh(tmp_path, ".safetensors")
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(min(end, 4096)))
    read(path, model, lora)


NUMBERS = st.sampled_from([0.0, 1.0, -1.0, 1e-40, 1e38, -3e38, float("inf"), float("nan")])


@fuzzed
@given(value=NUMBERS, alpha=NUMBERS, scale=st.one_of(st.none(), NUMBERS), strength=NUMBERS)
def test_numbers_without_measure(
    value: float, alpha: float, scale: float | None, strength: float, model: Model, tmp_path: Path
) -> None:
    """What is finite is merged, whatever comes of it, and the weights come back."""
    parts = {"lora_up.weight": torch.full((32, 2), value), "lora_down.weight": torch.ones(2, 32)}
    parts |= {"alpha": torch.tensor(alpha)} | ({} if scale is None else {"scale": torch.tensor(scale)})
    path = fresh(tmp_path, ".safetensors")
    save_file({f"{TO_Q}.{name}": tensor for name, tensor in parts.items()}, path)
    before = model.unet.down_blocks[0].attentions[0].transformer_blocks[0].attn1.to_q.weight.clone()
    try:
        read_lora = load_lora(path)
    except BadFile as error:
        assert "NaN or infinity" in str(error)
        return
    with patched(model, read_lora.patches(model, strength).patches):
        pass
    assert torch.equal(model.unet.down_blocks[0].attentions[0].transformer_blocks[0].attn1.to_q.weight, before)


class Bomb:
    """Unpickled, it would make a folder."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


def hidden(trace: Path) -> dict[str, Any]:
    """Places in which a pickle could hide it."""
    bomb = Bomb(trace)
    state = {"linear.0.weight": torch.ones(64, 64), "linear.0.bias": torch.ones(64)}
    return {
        "a key": {"string_to_param": {"*": torch.ones(1, 64)}, "name": bomb},
        "a parameter": {"string_to_param": {"*": bomb}},
        "a layer": {64: (state, state | {"linear.0.bias": bomb})},
        "a remark": {64: (state, state), "activation_func": bomb},
        "a tensor": {f"{TO_Q}.alpha": bomb},
        "itself": bomb,
    }


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("where", sorted(hidden(Path())))
@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_a_pickle_that_would_run_code_runs_nothing(
    form: str, where: str, reader: str, model: Model, tmp_path: Path
) -> None:
    """R001"""
    path, trace = tmp_path / "bomb.pt", tmp_path / "ran"
    content = hidden(trace)[where]
    if form == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(BadFile):
        READERS[reader](path, model)
    assert not trace.exists()


@pytest.fixture(scope="module")
def bomb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bomb") / "bomb.pt"
    zeros = bytes(2**24)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("archive/data.pkl", "w", force_zip64=True) as member:
            for _ in range(64):
                member.write(zeros)
        archive.writestr("archive/version", "3")
    return path


@pytest.mark.parametrize("reader", READERS)
def test_a_zip_that_unfolds_to_gigabytes_is_refused_at_once(reader: str, model: Model, bomb: Path) -> None:
    start = time.monotonic()
    with pytest.raises(BadFile):
        READERS[reader](bomb, model)
    assert time.monotonic() - start < SECONDS


@pytest.mark.parametrize("depth", [100, 100_000])
def test_a_deeply_nested_pickle_is_refused(depth: int, model: Model, tmp_path: Path) -> None:
    stream = io.BytesIO()
    stream.write(b"\x80\x02" + b"]" * depth + b"a" * (depth - 1) + b".")
    (tmp_path / "deep.pt").write_bytes(stream.getvalue())
    for reader in READERS.values():
        with pytest.raises(BadFile):
            reader(tmp_path / "deep.pt", model)
