"""Why a network has no effect with the checkpoint in use, and that it has with another."""

from __future__ import annotations

from pathlib import Path

import pytest

from modules.catalogue import Catalogue, Entry, Facts, Family, Folders, Kind, misfit

from .files import write_tensors


def entry(kind: Kind, family: Family, width: int | None = None, **facts: object) -> Entry:
    return Entry(kind, Path("a.safetensors"), name="a", facts=Facts(family=family, width=width, **facts))  # type: ignore[arg-type]


SD1, SD2, SDXL = entry("checkpoint", "sd1", 768), entry("checkpoint", "sd2", 1024), entry("checkpoint", "sdxl", 2048)


@pytest.mark.parametrize(
    ("embedding", "fits"),
    [
        (entry("embedding", "sd1", 768), SD1),
        (entry("embedding", "sd2", 1024), SD2),
        (entry("embedding", "sdxl", 2048), SDXL),
    ],
)
def test_an_embedding_fits_the_checkpoint_of_its_width_and_is_told_to_miss_the_others(
    embedding: Entry, fits: Entry
) -> None:
    # P095
    for checkpoint in (SD1, SD2, SDXL):
        assert (misfit(embedding, checkpoint) is None) == (checkpoint is fits)


def test_the_reason_names_what_it_was_made_for_or_the_widths() -> None:
    # P095
    assert misfit(entry("embedding", "sdxl", 2048), SD1) == "It was made for SDXL; a is an SD 1 model."
    assert misfit(entry("embedding", "sd2", 1024), SD1) == "Its vectors have 1024 numbers each, those of a have 768."


def test_a_narrow_pair_is_for_sdxl_whatever_its_width() -> None:
    # P095
    assert misfit(entry("embedding", "sdxl", 64), entry("checkpoint", "sd1", 64))


@pytest.mark.parametrize(
    ("made_for", "checkpoint", "is_misfit"),
    [
        ("sdxl", SD1, True),
        ("sd1", SDXL, True),
        ("sd1", SD1, False),
        ("", SD1, False),
        ("sd1", entry("checkpoint", ""), False),
        ("sdxl", entry("checkpoint", "sdxl_refiner", 1280), False),
    ],
)
@pytest.mark.parametrize("kind", ["lora", "hypernetwork"])
def test_a_lora_or_hypernetwork_of_another_family_is_told(
    kind: Kind, made_for: Family, checkpoint: Entry, is_misfit: bool
) -> None:
    # D047
    assert bool(misfit(entry(kind, made_for), checkpoint)) == is_misfit


def test_a_broken_file_has_its_own_reason() -> None:
    assert misfit(entry("embedding", "sd1", 768, error="is damaged"), SDXL) is None


def test_what_a_sidecar_declares_goes_before_what_the_file_shows() -> None:
    # D047
    declared = Entry("lora", Path("a"), facts=Facts(family="sd1"), sidecar={"sd version": "SDXL"})
    assert misfit(declared, SDXL) is None


def test_pictures_are_listed_among_embeddings_if_they_hold_one(catalogue: Catalogue, folders: Folders) -> None:
    # D030, D031
    golden = Path(__file__).parents[1] / "data/golden/embeddings"
    folder = folders.embeddings[0]
    folder.mkdir(parents=True)
    for name in ("filetext.png", "filestego.png", "justpreview.png", "tipt3.pt", "tipt3.preview.png"):
        (folder / name).write_bytes((golden / name).read_bytes())
    (folder / "tipt3.png").write_bytes((golden / "justpreview.png").read_bytes())
    (folder / "empty.pt").write_bytes(b"")
    entries = catalogue.entries("embedding")
    assert {each.name: each.path.name for each in entries} == {
        "stegoname": "filestego.png",
        "pngname": "filetext.png",
        "tipt3": "tipt3.pt",
    }
    found = catalogue.find("embedding", "pngname")
    assert found is not None
    assert catalogue.shorthash(found).result() == "8d7bfccc1e06"
    assert catalogue.find("embedding", "tipt3").preview.name == "tipt3.png"  # type: ignore[union-attr]


def test_an_embedding_of_a_file_has_the_files_name_not_the_inner_one(catalogue: Catalogue, folders: Folders) -> None:
    # D030
    golden = Path(__file__).parents[1] / "data/golden/embeddings/tipt3.pt"
    folder = folders.embeddings[0]
    folder.mkdir(parents=True)
    (folder / "renamed.PT").write_bytes(golden.read_bytes())
    assert [each.name for each in catalogue.entries("embedding")] == ["renamed"]


def test_a_picture_that_has_just_come_is_not_shown_before_it_is_known(folders: Folders, tmp_path: Path) -> None:
    folder = folders.embeddings[0]
    write_tensors(folder / "a.safetensors", {"emb_params": (1, 768)})
    (folder / "picture.png").write_bytes(
        (Path(__file__).parents[1] / "data/golden/embeddings/filetext.png").read_bytes()
    )
    with Catalogue(folders, is_thorough=False) as catalogue:
        catalogue.refresh("embedding", patience=-1)
        assert [each.name for each in catalogue.entries("embedding")] == ["a"]
        assert catalogue.find("embedding", "pngname")
