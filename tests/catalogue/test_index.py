"""The index is a cache: what it cannot tell is found out again."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from modules.catalogue.index import Index
from modules.catalogue.scan import Stamp

STAMP = Stamp("/models/a.safetensors", 7, 1)


def test_an_index_whose_tables_another_version_took_away_knows_nothing_and_keeps_nothing(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    with closing(Index(path)) as index:
        index.save_hash(STAMP, "sha256", "ab")
        assert index.hash_of(STAMP, "sha256") == "ab"
        with closing(sqlite3.connect(path)) as other:
            other.executescript("drop table hashes; drop table facts; drop table sidecars;")
        assert index.hash_of(STAMP, "sha256") is None
        assert not (index.hashes("sha256") or index.facts("lora") or index.sidecars())
        index.save_hash(STAMP, "sha256", "ab")
        assert index.hash_of(STAMP, "sha256") is None


def test_an_index_that_is_damaged_inside_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    with closing(Index(path)) as index:
        index.save_sidecars({Stamp(f"/models/{number}.txt", 1, 1): {"notes": "x" * 500} for number in range(200)})
        index.save_hash(STAMP, "sha256", "ab")
    content = path.read_bytes()
    page = int.from_bytes(content[16:18], "big")
    path.write_bytes(content[:page] + b"\xff" * (len(content) - page))  # as a copy made while it was written to
    with closing(Index(path)) as index:
        assert not (index.hashes("sha256") or index.facts("lora") or index.sidecars())
        index.save_hash(STAMP, "sha256", "ab")
        assert index.hash_of(STAMP, "sha256") == "ab"
