"""Words that are put into the folder while the worker runs (P094)."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from modules.catalogue import Folders
from modules.engine.config import EngineConfig
from modules.engine.engine import Engine
from modules.jobs.messages import Failed, PictureSaved, Run

from .conftest import GOLDEN, Ear


def make(engine: Engine, ear: Ear) -> str:
    ear.said.clear()
    request = {"prompt": "a tipt3 cat", "seed": 5, "steps": 1, "width": 64, "height": 64}
    engine.obey(Run(job_id="job", request=request, settings={}))
    assert not ear.heard(Failed)
    return ear.heard(PictureSaved)[0].infotext


def test_a_word_is_known_from_the_next_picture_on_in_sub_folders_and_when_edited_in_place_too(
    folders: Folders, ear: Ear, tmp_path: Path
) -> None:
    # P094
    words = tmp_path / "words"
    (words / "mine").mkdir(parents=True)
    engine = Engine(EngineConfig(folders=replace(folders, embeddings=(words,)), device="cpu"), ear)
    try:
        assert "TI hashes" not in make(engine, ear)
        word = words / "mine" / "tipt3.pt"
        shutil.copy(GOLDEN / "embeddings" / "tipt3.pt", word)
        first = make(engine, ear)
        assert 'TI hashes: "tipt3: ' in first or "TI hashes: tipt3: " in first
        shutil.copy(GOLDEN / "embeddings" / "tilegacy.pt", word)
        assert make(engine, ear) != first
        word.unlink()
        assert "TI hashes" not in make(engine, ear)
    finally:
        engine.close()
