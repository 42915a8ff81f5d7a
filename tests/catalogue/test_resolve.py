"""The files that a text names, found here under whatever name, or told to be missing."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from modules.catalogue import Catalogue, Folders, resolve
from modules.catalogue.hashes import digest_of
from modules.params import Pasted, parse_infotext, request_from_info

from .files import EMBEDDING, LORA, SD1, write_tensors

PAIRS = "Steps: 20, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 64x64"


def pasted(catalogue: Catalogue, prompt: str, pairs: str = "", *, keeps: bool = False) -> Pasted:
    info = parse_infotext(f"{prompt}\n{PAIRS}{', ' if pairs else ''}{pairs}")
    current = next(iter(catalogue.entries("checkpoint")), None)
    return resolve(request_from_info(info), info, catalogue, current=current, keeps_checkpoint=keeps)


@pytest.fixture
def ink(loras: Path) -> Path:
    return write_tensors(loras / "sub/my ink.safetensors", LORA, fill=b"\1")


def test_a_lora_that_is_here_under_another_name_is_found_by_its_hash(catalogue: Catalogue, ink: Path) -> None:
    # I018
    digits = digest_of(ink, "addnet")[:12]
    found = pasted(catalogue, "a <lora:Ink Style:0.7:1> b <lora:Ink Style>", f'Lora hashes: "Ink Style: {digits}"')
    assert found.fields["prompt"] == "a <lora:my ink:0.7:1> b <lora:my ink>"
    assert not found.notices


@pytest.mark.parametrize("kind", ["lora", "lyco", "be-lora"])
def test_a_lora_is_found_whatever_its_kind_is_called(catalogue: Catalogue, ink: Path, kind: str) -> None:
    # I018, P050
    digits = digest_of(ink, "addnet")[:12]
    found = pasted(catalogue, f"<{kind}:other:0.7>", f'Lora hashes: "other: {digits}"')
    assert (found.fields["prompt"], found.notices) == (f"<{kind}:my ink:0.7>", ())


def test_a_whole_files_hash_names_a_lora_too(catalogue: Catalogue, ink: Path) -> None:
    # I018: as Civitai and ComfyUI's nodes write it
    digits = hashlib.sha256(ink.read_bytes()).hexdigest()[:10]
    found = pasted(catalogue, "<lora:other:1>", f'Lora hashes: "other: {digits}"')
    assert found.fields["prompt"] == "<lora:my ink:1>"


def test_a_name_is_compared_without_the_signs_that_lists_of_hashes_leave_out(catalogue: Catalogue, ink: Path) -> None:
    # I018
    digits = digest_of(ink, "addnet")[:12]
    found = pasted(catalogue, "<lora:a, b:1>", f'Lora hashes: "a b: {digits}"')
    assert found.fields["prompt"] == "<lora:my ink:1>"


def test_a_file_of_the_hash_goes_before_one_of_the_name(catalogue: Catalogue, loras: Path, ink: Path) -> None:
    # I018
    write_tensors(loras / "style.safetensors", LORA, {"sshs_model_hash": "ffff" * 16}, fill=b"\2")
    catalogue.shorthash(catalogue.find("lora", "my ink")).result()  # type: ignore[arg-type]
    found = pasted(catalogue, "<lora:style:1>", f'Lora hashes: "style: {digest_of(ink, "addnet")[:12]}"')
    assert found.fields["prompt"] == "<lora:my ink:1>"


def test_another_file_of_the_same_name_is_told(catalogue: Catalogue, loras: Path) -> None:
    # I018
    write_tensors(loras / "style.safetensors", LORA, {"sshs_model_hash": "ffff" * 16})
    found = pasted(catalogue, "<lora:style:1>", 'Lora hashes: "style: 0123456789ab"')
    assert found.fields["prompt"] == "<lora:style:1>"
    assert "not the same file: the text says 0123456789ab" in found.notices[0]


def test_missing_networks_are_told_with_their_hash(catalogue: Catalogue) -> None:
    # I018
    found = pasted(
        catalogue,
        "<lora:ink:1> <hypernet:night:1> a word",
        'Lora hashes: "ink: 0123456789ab", TI hashes: "word: fedcba987654"',
    )
    assert [notice.split(" is not here")[0] for notice in found.notices] == [
        'The LoRA "ink" (hash 0123456789ab)',
        'The hypernetwork "night"',
        'The embedding "word" (hash fedcba987654)',
    ]


def test_an_embedding_that_is_here_under_another_name_is_told(catalogue: Catalogue, folders: Folders) -> None:
    path = write_tensors(folders.embeddings[0] / "mine.safetensors", EMBEDDING)
    found = pasted(catalogue, "theirs", f'TI hashes: "theirs: {hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"')
    assert 'It is here as "mine"' in found.notices[0]


@pytest.fixture
def models(folders: Folders) -> Path:
    folder = folders.checkpoints[0]
    write_tensors(folder / "first.safetensors", SD1, fill=b"\1")
    write_tensors(folder / "sub/second.safetensors", SD1, fill=b"\2")
    return folder


def test_a_model_hash_chooses_the_checkpoint_whatever_its_name(catalogue: Catalogue, models: Path) -> None:
    # I017
    second = catalogue.find_checkpoint("second")
    assert second is not None
    digits = catalogue.sha256(second).result()[:10]
    assert pasted(catalogue, "p", f"Model hash: {digits}, Model: x").settings["sd_model_checkpoint"] == second.relative


def test_a_checkpoint_that_was_never_hashed_is_found_by_name(catalogue: Catalogue, models: Path) -> None:
    # I017
    found = pasted(catalogue, "p", "Model hash: 0123456789, Model: sub_second")
    assert found.settings["sd_model_checkpoint"] == "sub/second.safetensors"


def test_a_checkpoint_that_is_missing_is_told_and_the_chosen_one_stays(catalogue: Catalogue, models: Path) -> None:
    # I017
    found = pasted(catalogue, "p", "Model hash: 0123456789, Model: zigzag")
    assert "sd_model_checkpoint" not in found.settings
    assert '"zigzag" (hash 0123456789), is not here' in found.notices[0]


def test_with_the_option_the_chosen_checkpoint_stays_and_the_other_is_told(catalogue: Catalogue, models: Path) -> None:
    # I017: disable_weights_auto_swap, on by default
    found = pasted(catalogue, "p", "Model: sub_second", keeps=True)
    assert "sd_model_checkpoint" not in found.settings
    assert "sub/second.safetensors" in found.notices[0]
    assert not pasted(catalogue, "p", "Model: first", keeps=True).notices


def test_a_vae_is_chosen_by_its_file_name_or_hash(catalogue: Catalogue, folders: Folders) -> None:
    # I017
    path = write_tensors(folders.vaes[0] / "fine.safetensors", {"decoder.conv_in.weight": (1, 1)})
    digits = hashlib.sha256(path.read_bytes()).hexdigest()[:10]
    for pairs in ("VAE: fine.safetensors", f"VAE hash: {digits}, VAE: other.pt"):
        assert pasted(catalogue, "p", pairs).settings["sd_vae"] == "fine.safetensors"
    missing = pasted(catalogue, "p", "VAE hash: 0123456789, VAE: gone.pt")
    assert "sd_vae" not in missing.settings
    assert '"gone.pt" (hash 0123456789) is not here' in missing.notices[0]


def test_refiner_and_hires_checkpoint_are_named_by_their_files(catalogue: Catalogue, models: Path) -> None:
    pairs = (
        "Denoising strength: 0.5, Hires upscale: 2, Hires checkpoint: first [0123456789], Refiner: second [9876543210]"
    )
    found = pasted(catalogue, "p", pairs)
    assert found.fields["refiner_checkpoint"] == "sub/second.safetensors"
    assert found.fields["hr_checkpoint_name"] == "first.safetensors"
    gone = pasted(catalogue, "p", "Refiner: zigzag [9876543210]")
    assert (gone.fields["refiner_checkpoint"], len(gone.notices)) == ("", 1)


@pytest.mark.parametrize(
    "hashes", ['"a: "', '":::"', '", , ,"', '"a: xyz, b"', "a", '"' + "x: 0123456789ab, " * 1000 + '"']
)
def test_no_list_of_hashes_is_too_odd(catalogue: Catalogue, hashes: str) -> None:
    pasted(catalogue, "<lora:a:1> <lora::> <lora:>", f"Lora hashes: {hashes}, TI hashes: {hashes}")
