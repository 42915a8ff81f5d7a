"""Empty folders, and a catalogue over them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from modules.catalogue import Catalogue, Folders


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders.from_args(shipped=tmp_path / "program", data_dir=tmp_path / "data")


@pytest.fixture
def catalogue(folders: Folders) -> Iterator[Catalogue]:
    with Catalogue(folders) as opened:
        yield opened


@pytest.fixture
def loras(folders: Folders) -> Path:
    return folders.loras[0]
