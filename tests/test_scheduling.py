"""Tests that share a running program are on one process; whoever starts none with them is not held up by them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scheduling import APART, FOLDERS, ByProgram

ROOT = Path(__file__).parents[1]


def unit(nodeid: str) -> str:
    return object.__new__(ByProgram)._split_scope(nodeid)


def test_the_files_of_a_shared_program_are_one_unit_of_work() -> None:
    together = {unit(f"tests/ui/{name}.py::test_a[x::y]") for name in ("test_page", "test_starting")}
    assert together == {"tests/ui"}
    assert unit("tests/ui/test_tags.py::test_a") == "tests/ui/test_tags.py"
    assert unit("tests/jobs/test_bus.py::test_a[tests/ui/x]") == "tests/jobs/test_bus.py"


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_file_that_takes_the_shared_program_is_among_them(folder: str) -> None:
    files = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / folder).glob("test_*.py")}
    taking = {name for name, text in files.items() if "shared: Program" in text or "page: Page" in text}
    assert len(taking) > 1
    assert not taking & set(APART)
