"""Where on a node a file of the server lies."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest

from modules.catalogue import Folders
from modules.cluster.places import moved, place_of


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (PurePosixPath("/home/me/x.pt"), "home/me/x.pt"),
        (PureWindowsPath("C:\\me\\x.pt"), "C/me/x.pt"),
        (PureWindowsPath("\\\\nas\\share\\x.pt"), "nas/share/x.pt"),
    ],
)
def test_a_place_is_a_path_below_any_folder(path: PurePosixPath, place: str) -> None:
    assert place_of(path) == place


def test_all_folders_move_together(tmp_path: Path) -> None:
    folders = Folders.from_args(shipped=tmp_path, vae_path=tmp_path / "a.vae.pt", styles_files=[tmp_path / "*.csv"])
    far = moved(folders, lambda path: Path("/far") / place_of(path))
    assert moved(far, lambda path: Path("/") / path.relative_to("/far")) == folders
    assert far.vae_path == Path("/far") / place_of(tmp_path / "a.vae.pt")
