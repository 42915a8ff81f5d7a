"""Names, search and order."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.catalogue import Entry, Facts
from modules.catalogue.checkpoints import match_checkpoint
from modules.catalogue.natural import natural_key
from modules.catalogue.shelf import Shelf
from modules.params import UnknownName


def entry(relative: str, **more: object) -> Entry:
    path = Path("/models") / relative
    return Entry(kind="lora", path=path, relative=relative, name=path.stem, **more)  # type: ignore[arg-type]


def named(alias: str) -> Facts:
    return Facts(metadata={"ss_output_name": alias})


def meant(shelf: Shelf, name: str) -> list[str]:
    return [found.relative for found in shelf.matches(name)]


def shown(shelf: Shelf, text: str = "", sort: str = "path", descending: bool = False) -> list[str]:
    found, _ = shelf.search(text, sort=sort, descending=descending, offset=0, limit=None)
    return [item.relative for item in found]


SHELF = Shelf(
    [entry("a/cat.pt"), entry("b/cat.safetensors"), entry("b/dog.pt", facts=named("wolf")), entry("fox v1.2.pt")]
)


@pytest.mark.parametrize("name", ["dog", "dog.pt", "b/dog", "b/dog.pt", "b\\dog", "wolf"])
def test_a_file_answers_to_stem_path_and_alias(name: str) -> None:
    # D040, P055
    assert meant(SHELF, name) == ["b/dog.pt"]


@pytest.mark.parametrize("name", ["Dog", "do", "", "b/", "x/dog", "WOLF"])
def test_no_other_name_means_a_file(name: str) -> None:
    assert meant(SHELF, name) == []


def test_dots_and_spaces_are_parts_of_a_name() -> None:
    assert meant(SHELF, "fox v1.2") == ["fox v1.2.pt"]


def test_two_files_of_one_stem_are_both_named_the_first_by_path_first() -> None:
    assert meant(SHELF, "cat") == ["a/cat.pt", "b/cat.safetensors"]


def test_a_path_counts_before_a_stem() -> None:
    shelf = Shelf([entry("a/cat.pt"), entry("cat.pt")])
    assert meant(shelf, "cat") == ["cat.pt"]


def test_an_alias_claimed_twice_means_none_and_a_stem_counts_before_it() -> None:
    shelf = Shelf([entry("a.pt", facts=named("x")), entry("b.pt", facts=named("x")), entry("c.pt", facts=named("a"))])
    assert meant(shelf, "x") == []
    assert meant(shelf, "a") == ["a.pt"]


def test_none_is_no_alias() -> None:
    assert meant(Shelf([entry("a.pt", facts=named("None"))]), "None") == []


def test_accents_match_however_they_are_composed() -> None:
    assert meant(Shelf([entry("Cafe\u0301.pt")]), "Caf\u00e9") == ["Cafe\u0301.pt"]


def test_a_card_inserts_the_shortest_name_that_means_its_file_alone() -> None:
    shelf = Shelf([entry("a/x.pt"), entry("b/x.pt"), entry("b/x.safetensors"), entry("y.pt")])
    assert [item.insert for item in shelf.entries] == ["a/x", "b/x.pt", "b/x.safetensors", "y"]


RELATIVE = st.lists(st.text("ab.1é ", min_size=1, max_size=3), min_size=1, max_size=3).map("/".join)


@given(st.sets(RELATIVE.map(lambda name: f"{name}x"), max_size=8), st.sampled_from([".pt", ".safetensors"]))
def test_what_a_card_inserts_always_means_its_own_file(names: set[str], suffix: str) -> None:
    shelf = Shelf([entry(name + suffix) for name in sorted(names)])
    for item in shelf.entries:
        assert shelf.matches(item.insert)[0] == item


def test_every_word_of_a_search_must_occur_somewhere() -> None:
    shelf = Shelf(
        [entry("style/ink.pt", sidecar={"description": "Black lines"}), entry("style/oil.pt"), entry("ink2.pt")]
    )
    assert shown(shelf, "INK style") == ["style/ink.pt"]
    assert shown(shelf, "lines") == ["style/ink.pt"]
    assert shown(shelf, "/style") == ["style/ink.pt", "style/oil.pt"]
    assert shown(shelf, "nothing") == []


def test_a_hash_can_be_searched_for() -> None:
    assert shown(Shelf([entry("a.pt", sha256="0123abcd"), entry("b.pt")]), "123ab") == ["a.pt"]


def test_hidden_files_are_found_by_longer_texts_only() -> None:
    shelf = Shelf([entry(".x/inky.pt", hidden=True), entry("inky2.pt")])
    assert shown(shelf) == shown(shelf, "ink") == ["inky2.pt"]
    assert shown(shelf, "inky") == [".x/inky.pt", "inky2.pt"]


@pytest.mark.parametrize(
    ("sort", "order"),
    [("path", "abc"), ("name", "cab"), ("created", "bca"), ("modified", "acb"), ("size", "bac")],
)
def test_every_order_means_what_it_says(sort: str, order: str) -> None:
    shelf = Shelf(
        [
            entry("1/a2.pt", created_ns=3, mtime_ns=1, size=20),
            entry("2/a10.pt", created_ns=1, mtime_ns=3, size=10),
            entry("3/A1.pt", created_ns=2, mtime_ns=2, size=30),
        ]
    )
    letters = {"1/a2.pt": "a", "2/a10.pt": "b", "3/A1.pt": "c"}
    assert "".join(letters[name] for name in shown(shelf, sort=sort)) == order
    assert "".join(letters[name] for name in shown(shelf, sort=sort, descending=True)) == order[::-1]


def test_an_unknown_order_is_named() -> None:
    with pytest.raises(UnknownName, match="modified"):
        shown(SHELF, sort="modifed")


def test_pages_put_together_are_the_whole() -> None:
    shelf = Shelf([entry(f"{number}.pt") for number in range(25)])
    pages = [shelf.search("", sort="name", descending=False, offset=start, limit=10) for start in range(0, 30, 10)]
    assert [item.name for page, _ in pages for item in page] == [str(number) for number in range(25)]
    assert {total for _, total in pages} == {25}


@given(st.lists(st.integers(0, 10**6), min_size=1))
def test_numbers_in_names_sort_as_numbers(numbers: list[int]) -> None:
    assert sorted((f"a{number}" for number in numbers), key=natural_key) == [f"a{number}" for number in sorted(numbers)]


@given(st.lists(st.text()))
def test_any_names_can_be_sorted(names: list[str]) -> None:
    sorted(names, key=natural_key)


def checkpoint(relative: str, sha256: str | None = None) -> Entry:
    path = Path("/models") / relative
    return Entry(kind="checkpoint", path=path, relative=relative, name=path.stem, sha256=sha256)


MODELS = (
    checkpoint("sd/v1-5-pruned.safetensors", "6ce0161689b3853acaa03779ec93eafe75a02f4ced659bee03f50797806fa2fa"),
    checkpoint("v1-5.ckpt"),
)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("sd/v1-5-pruned.safetensors [6ce0161689]", 0),
        ("v1-5-pruned [6ce0161689]", 0),
        ("sd_v1-5-pruned", 0),
        ("6ce0161689", 0),
        ("6ce0161689b3853acaa03779ec93eafe75a02f4ced659bee03f50797806fa2fa", 0),
        ("abcdef12", 1),
        ("v1-5.ckpt [abcdef12]", 1),
        ("pruned", 0),
        ("V1-5", 1),
        ("pruned [0000000000]", 0),
        ("v1-5.ckpt [0000000000]", 1),
    ],
)
def test_a_checkpoint_answers_to_all_its_names(name: str, place: int) -> None:
    # D012
    def legacy(path: Path) -> str:
        return "abcdef12" if path.name == "v1-5.ckpt" else "00000000"

    assert match_checkpoint(name, MODELS, legacy) == (MODELS[place],)


@pytest.mark.parametrize("name", ["", "  ", "nothing", "[6ce0161689]x", "[]"])
def test_no_checkpoint_answers_to_anything_else(name: str) -> None:
    # D012
    assert match_checkpoint(name, MODELS, lambda _: None) == ()
