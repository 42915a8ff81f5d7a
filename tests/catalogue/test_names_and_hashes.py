"""What files are called, in titles, aliases and hashes, where no other test of the catalogue says so."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from modules.catalogue import Catalogue, Folders
from modules.catalogue.hashes import NotHashed, digest_of, legacy_hash

from .files import EMBEDDING, LORA, SD1, write_tensors

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
EMBEDDINGS = json.loads((GOLDEN / "cond.json").read_text())["embeddings"]["loaded"]


def test_a_checkpoints_title_is_its_path_and_once_hashed_ten_digits(catalogue: Catalogue, folders: Folders) -> None:
    # D011
    path = write_tensors(folders.checkpoints[0] / "sub/dream.safetensors", SD1)
    entry = catalogue.find_checkpoint("dream")
    assert entry is not None
    assert (entry.title, entry.name, entry.model_name) == ("sub/dream.safetensors", "dream", "sub_dream")
    digest = catalogue.sha256(entry).result()
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    hashed = catalogue.find_checkpoint("dream")
    assert hashed is not None
    assert hashed.title == f"sub/dream.safetensors [{digest[:10]}]"


def test_a_header_that_claims_to_be_endless_leaves_nothing_to_hash(tmp_path: Path) -> None:
    # D046
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"\xff" * 100)
    assert digest_of(path, "addnet") == hashlib.sha256().hexdigest()


def test_the_legacy_hash_is_of_64_kb_a_megabyte_into_the_file(tmp_path: Path) -> None:
    # D011
    path = tmp_path / "a.ckpt"
    path.write_bytes(b"a" * 0x100000 + b"b" * 0x10000 + b"c" * 100)
    assert legacy_hash(path) == hashlib.sha256(b"b" * 0x10000).hexdigest()[:8]
    path.write_bytes(b"short")
    assert legacy_hash(path) is None


@pytest.mark.parametrize(
    "name",
    [
        "{legacy}",
        "sub_dream",
        "sub/dream.safetensors",
        "sub/dream.safetensors [{ten}]",
        "dream",
        "sub/dream.safetensors [{legacy}]",
        "{ten}",
        "{all}",
        "dream [{ten}]",
        "drea",
        "sub/dream.safetensors [0000000000]",
    ],
)
def test_a_checkpoint_on_disk_answers_to_every_name_it_ever_had(
    name: str, catalogue: Catalogue, folders: Folders
) -> None:
    # D012
    path = write_tensors(folders.checkpoints[0] / "sub/dream.safetensors", SD1 | {"x": (600_000,)})
    write_tensors(folders.checkpoints[0] / "other one.safetensors", SD1)
    entry = catalogue.find_checkpoint("dream")
    assert entry is not None
    digest = catalogue.sha256(entry).result()
    asked = name.format(legacy=legacy_hash(path), ten=digest[:10], all=digest)
    assert catalogue.find_checkpoint(asked).path == path  # type: ignore[union-attr]


def test_two_vaes_have_two_hashes_whichever_is_older(catalogue: Catalogue, folders: Folders) -> None:
    # D023
    decoder = {"decoder.conv_in.weight": (1, 1)}
    first = write_tensors(folders.vaes[0] / "a.safetensors", decoder, fill=b"\1")
    second = write_tensors(folders.vaes[0] / "b.safetensors", decoder, fill=b"\2")
    os.utime(second, ns=(0, 1))
    for path in (first, second):
        entry = catalogue.find("vae", path.name)
        assert entry is not None
        assert catalogue.shorthash(entry).result() == hashlib.sha256(path.read_bytes()).hexdigest()[:10]


def test_hidden_files_are_in_the_list_unless_a_search_is_short(catalogue: Catalogue, loras: Path) -> None:
    # D002
    write_tensors(loras / ".secret/ink.safetensors", LORA)
    assert [entry.name for entry in catalogue.entries("lora")] == ["ink"]
    assert catalogue.find("lora", "ink")


def test_endings_count_whatever_their_case(catalogue: Catalogue, loras: Path) -> None:
    # D002
    write_tensors(loras / "ink.SafeTensors", LORA)
    assert [entry.name for entry in catalogue.entries("lora")] == ["ink"]


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_an_embeddings_hash_is_the_references(name: str, catalogue: Catalogue, folders: Folders) -> None:
    # D032
    folder = folders.embeddings[0]
    folder.mkdir(parents=True)
    file = EMBEDDINGS[name]["file"]
    (folder / file).write_bytes((GOLDEN / "embeddings" / file).read_bytes())
    entry = catalogue.find("embedding", name)
    assert entry is not None
    assert catalogue.shorthash(entry).result() == EMBEDDINGS[name]["shorthash"]


def test_a_lora_of_pytorch_has_the_whole_files_hash(catalogue: Catalogue, loras: Path) -> None:
    # D046
    loras.mkdir(parents=True)
    source = next(GOLDEN.glob("hypernetworks/*.pt"))
    (loras / "a.pt").write_bytes(source.read_bytes())
    entry = catalogue.find("lora", "a")
    assert entry is not None
    assert catalogue.shorthash(entry).result() == hashlib.sha256(source.read_bytes()).hexdigest()[:12]


def test_loras_lie_in_the_folder_of_lycoris_too(catalogue: Catalogue, folders: Folders) -> None:
    # D040
    write_tensors(folders.data_dir / "models/LyCORIS/loha.safetensors", LORA)
    assert catalogue.find("lora", "loha")


def test_hypernetworks_are_listed_without_regard_to_case(catalogue: Catalogue, folders: Folders) -> None:
    # D050
    folder = folders.hypernetworks[0]
    folder.mkdir(parents=True)
    for name in ("b", "A", "c"):
        (folder / f"{name}.pt").write_bytes(next(GOLDEN.glob("hypernetworks/*.pt")).read_bytes())
    assert [entry.name for entry in catalogue.entries("hypernetwork")] == ["A", "b", "c"]


@pytest.mark.parametrize(
    ("text", "prediction", "size"),
    [
        ("model:\n  params:\n    parameterization: v\n", "v", (768, 768)),
        ('model:\n  params:\n    parameterization: "v"', "v", (768, 768)),
        ("    parameterization: eps", "epsilon", (512, 512)),
        ("# parameterization: v", None, None),
        ("model: &a [*a, *a]\n" * 1000, None, None),
        ("", None, None),
    ],
)
def test_a_configuration_beside_an_sd2_says_what_it_predicts(
    text: str, prediction: str | None, size: tuple[int, int] | None, catalogue: Catalogue, folders: Folders
) -> None:
    # D014
    sd2 = {
        "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (4, 1024),
        "cond_stage_model.model.ln_final.weight": (4,),
    }
    path = write_tensors(folders.checkpoints[0] / "a.safetensors", sd2)
    path.with_suffix(".yaml").write_text(text)
    entry = catalogue.find_checkpoint("a")
    assert entry is not None
    assert (entry.prediction, entry.native_size, entry.family) == (prediction, size, "sd2")


def test_the_command_lines_vae_is_an_entry_or_a_fault(tmp_path: Path) -> None:
    # D021
    path = write_tensors(tmp_path / "fine.safetensors", {"decoder.conv_in.weight": (1, 1)})
    for place, works in ((path, True), (tmp_path / "gone.pt", False)):
        with Catalogue(Folders.from_args(shipped=tmp_path, vae_path=place)) as catalogue:
            if works:
                assert catalogue.fixed_vae().path == path  # type: ignore[union-attr]
                assert catalogue.shorthash(catalogue.fixed_vae()).result()  # type: ignore[arg-type]
            else:
                with pytest.raises(Exception, match="--vae-path"):
                    catalogue.fixed_vae()


def test_an_embeddings_ending_may_be_any_of_three(catalogue: Catalogue, folders: Folders) -> None:
    # D030
    write_tensors(folders.embeddings[0] / "a.safetensors", EMBEDDING)
    for name in ("tipt3.pt", "tibin2d.bin"):
        (folders.embeddings[0] / name).write_bytes((GOLDEN / "embeddings" / name).read_bytes())
    assert [entry.error for entry in catalogue.entries("embedding")] == [None, None, None]


def test_without_hashing_only_known_hashes_are_told(folders: Folders) -> None:
    # F001: --no-hashing
    write_tensors(folders.checkpoints[0] / "a.safetensors", SD1)
    with Catalogue(folders, folders.index, computes_hashes=False) as catalogue:
        (entry,) = catalogue.entries("checkpoint")
        with pytest.raises(NotHashed, match="--no-hashing"):
            catalogue.shorthash(entry).result(timeout=60)
        assert catalogue.with_hash("checkpoint", "0123456789") is None
    with Catalogue(folders, folders.index) as catalogue:
        known = catalogue.shorthash(entry).result(timeout=60)
    with Catalogue(folders, folders.index, computes_hashes=False) as catalogue:
        assert catalogue.shorthash(entry).result(timeout=0) == known
        assert catalogue.find_checkpoint(known) == catalogue.entries("checkpoint")[0]
