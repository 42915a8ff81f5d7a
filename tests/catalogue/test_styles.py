"""Styles on disk (D062)."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.catalogue import StyleFiles
from modules.catalogue.styles import divider, parse_sheet
from modules.params import BadFile, UnknownName

HEADER = "name,prompt,negative_prompt\n"


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def table(files: StyleFiles) -> dict[str, tuple[str, str]]:
    return {entry.name: (entry.prompt, entry.negative_prompt) for entry in files.entries()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "styles.csv"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_file_of_a1111_is_read_with_and_without_a_mark_of_its_encoding(path: Path, encoding: str) -> None:
    write(path, HEADER + 'Ünï,"a {prompt}, oil","bad, ugly"\r\nplain,p,\r\n', encoding)
    assert table(StyleFiles([path])) == {"Ünï": ("a {prompt}, oil", "bad, ugly"), "plain": ("p", "")}


def test_the_old_header_with_one_text_is_read(path: Path) -> None:
    write(path, "name,text\nold,some words\n")
    assert table(StyleFiles([path])) == {"old": ("some words", "")}


def test_rows_that_begin_with_a_hash_are_remarks_and_empty_rows_are_nothing(path: Path) -> None:
    write(path, HEADER + "# my styles,,\n\n#,a,b\n,a,b\none,p,n\n")
    assert table(StyleFiles([path])) == {"one": ("p", "n")}


def test_short_rows_long_rows_and_several_lines_in_a_cell_are_read(path: Path) -> None:
    write(path, HEADER + 'short\nlong,p,n,more,and more\n"lines","a\nb",\nspaced, p, n\n')
    expected = {"short": ("", ""), "long": ("p", "n"), "lines": ("a\nb", ""), "spaced": ("p", "n")}
    assert table(StyleFiles([path])) == expected


def test_a_change_of_the_file_shows_at_once(path: Path) -> None:
    files = StyleFiles([path])
    assert files.entries() == ()
    write(path, HEADER + "one,p,n\n")
    assert table(files) == {"one": ("p", "n")}
    write(path, HEADER + "two,q,m\n")
    os.utime(path, ns=(1, 1))  # older than what was read, and of the same size
    assert table(files) == {"two": ("q", "m")}
    path.unlink()
    assert files.entries() == ()


def test_patterns_find_files_and_each_file_has_a_title_in_the_list(tmp_path: Path) -> None:
    mine = write(tmp_path / "mine.csv", HEADER + "one,p,n\n")
    write(tmp_path / "packs" / "b.csv", HEADER + "three,p,n\nshared,b,\n")
    write(tmp_path / "packs" / "a.csv", HEADER + "two,p,n\nshared,a,\n")
    files = StyleFiles([mine, tmp_path / "packs" / "*.csv", mine])
    assert [entry.name for entry in files.entries()] == ["one", "two", "shared", "three"]
    assert table(files)["shared"] == ("b", "")  # of two with one name the later counts
    titles = ["MINE", "A", "B"]
    assert files.listing() == tuple(
        line
        for title, names in zip(titles, (["one"], ["two"], ["shared", "three"]), strict=True)
        for line in (f" {title} ".center(40, "-"), *names)
    )


def test_one_file_has_no_title(path: Path) -> None:
    write(path, HEADER + "one,p,n\n")
    assert StyleFiles([path]).listing() == ("one",)


def test_a_title_is_as_wide_as_a1111s() -> None:
    assert divider(Path("x/styles.csv")) == "---------------- STYLES ----------------"


def test_a_style_is_saved_to_its_own_file_and_a_new_one_to_the_first(tmp_path: Path) -> None:
    first = write(tmp_path / "first.csv", HEADER + "one,p,n\n")
    second = write(tmp_path / "second.csv", HEADER + "two,p,n\n")
    files = StyleFiles([first, second])
    assert files.save("two", "changed", "").path == second
    assert files.save("three", 'a "quoted", b', "x\ny").path == first
    assert table(StyleFiles([first])) == {"one": ("p", "n"), "three": ('a "quoted", b', "x\ny")}
    assert table(StyleFiles([second])) == {"two": ("changed", "")}


def test_before_a_file_is_written_its_old_content_is_copied_beside_it(path: Path) -> None:
    write(path, HEADER + "one,p,n\n")
    before = path.read_bytes()
    StyleFiles([path]).save("two", "q", "")
    assert path.with_name("styles.csv.bak").read_bytes() == before
    assert path.read_bytes() != before
    assert {file.name for file in path.parent.iterdir()} == {"styles.csv", "styles.csv.bak"}


def test_what_is_written_begins_as_a1111_writes_it(path: Path) -> None:
    StyleFiles([path]).save("Ünï", "p", "n")
    assert path.read_bytes() == "\ufeffname,prompt,negative_prompt\r\nÜnï,p,n\r\n".encode()


def test_saving_keeps_remarks_and_the_columns_of_other_programs(path: Path) -> None:
    write(path, "name,prompt,negative_prompt,comment\n# mine,,,\none,p,n,remember\n")
    StyleFiles([path]).save("one", "q", "n")
    rows = list(csv.reader(path.read_text("utf-8-sig").splitlines()))
    assert rows[1:] == [["# mine", "", "", ""], ["one", "q", "n", "remember"]]


def test_an_old_file_becomes_a_modern_one_when_it_is_written(path: Path) -> None:
    write(path, "name,text\nold,some words\n")
    files = StyleFiles([path])
    files.save("new", "p", "n")
    assert table(files) == {"old": ("some words", ""), "new": ("p", "n")}


def test_where_the_first_place_is_a_pattern_a_new_style_goes_to_its_first_file(tmp_path: Path) -> None:
    files = StyleFiles([tmp_path / "*.csv"])
    assert files.save("one", "p", "").path == tmp_path / "styles.csv"
    write(tmp_path / "a.csv", HEADER)
    assert files.save("two", "p", "").path == tmp_path / "a.csv"


def test_a_style_is_removed_from_every_file_that_has_it(tmp_path: Path) -> None:
    first = write(tmp_path / "first.csv", HEADER + "one,p,n\ntwo,p,n\n")
    second = write(tmp_path / "second.csv", HEADER + "one,q,m\n")
    files = StyleFiles([first, second])
    files.remove("one")
    assert table(files) == {"two": ("p", "n")}
    with pytest.raises(UnknownName, match='"one"'):
        files.remove("one")


@pytest.mark.parametrize("name", ["", " ", "# remark"])
def test_a_name_that_would_not_be_read_again_is_refused(path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="called"):
        StyleFiles([path]).save(name, "p", "n")


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    real = write(tmp_path / "elsewhere" / "real.csv", HEADER + "one,p,n\n")
    link = tmp_path / "styles.csv"
    link.symlink_to(real)
    StyleFiles([link]).save("two", "q", "")
    assert link.is_symlink()
    assert set(table(StyleFiles([real]))) == {"one", "two"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a,b,c\n1,2,3\n", "columns"),
        (b"name\nonly\n", "columns"),
        (b"name,prompt,negative_prompt\nx,\xff,\n", "UTF-8"),
        (b"name,prompt,negative_prompt\nx," + b"a" * 200_000 + b",\n", "table"),
    ],
)
def test_a_broken_file_is_told_and_hides_no_other(tmp_path: Path, content: bytes, reason: str) -> None:
    broken = tmp_path / "broken.csv"
    broken.write_bytes(content)
    good = write(tmp_path / "good.csv", HEADER + "one,p,n\n")
    files = StyleFiles([broken, good])
    assert table(files) == {"one": ("p", "n")}
    (problem,) = files.problems()
    assert "broken.csv" in problem and reason in problem


def test_a_broken_file_is_not_written_over(path: Path) -> None:
    path.write_bytes(b"a,b,c\n1,2,3\n")
    with pytest.raises(BadFile, match="columns"):
        StyleFiles([path]).save("one", "p", "n")
    assert path.read_bytes() == b"a,b,c\n1,2,3\n"


@settings(deadline=None)
@given(st.text() | st.text(alphabet='name,prompt\n\r"#\0 ').map(lambda text: "name,prompt\n" + text))
def test_any_text_is_styles_or_a_reason(text: str) -> None:
    try:
        sheet = parse_sheet(Path("styles.csv"), text)
    except BadFile:
        return
    for entry in sheet.entries():
        assert entry.name


@settings(deadline=None, max_examples=50)
@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
        .map(str.lstrip)
        .filter(lambda name: name.strip() and not name.startswith("#")),
        st.tuples(*[st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")).map(str.lstrip)] * 2),
        max_size=4,
    )
)
def test_what_is_saved_is_read_again(tmp_path_factory: pytest.TempPathFactory, styles: dict) -> None:
    path = tmp_path_factory.mktemp("styles") / "styles.csv"
    for name, (prompt, negative) in styles.items():
        StyleFiles([path]).save(name, prompt, negative)
    assert table(StyleFiles([path])) == styles
