"""The styles that a job names are those of the file as it is when the job begins (D062)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from modules.catalogue import Folders
from modules.engine.config import EngineConfig
from modules.engine.engine import Engine
from modules.jobs.messages import Failed, Notice, PictureSaved, Run

from .conftest import Ear


@pytest.fixture
def engine(folders: Folders, ear: Ear, loads_once: None) -> Iterator[Engine]:
    engine = Engine(EngineConfig(folders=folders, device="cpu"), ear)
    yield engine
    engine.close()


def make(engine: Engine, ear: Ear, *styles: str) -> str:
    """The text of a picture made with these styles."""
    ear.said.clear()
    request = {"prompt": "a cat", "negative_prompt": "blurry", "seed": 5, "steps": 1, "width": 64, "height": 64}
    engine.obey(Run(job_id="job", request={**request, "styles": styles}, settings={}))
    assert not ear.heard(Failed)
    return ear.heard(PictureSaved)[0].infotext


def test_a_jobs_styles_are_merged_in_order_and_a_change_of_the_file_shows_at_once(
    engine: Engine, ear: Ear, folders: Folders
) -> None:
    # P001, P002, P070: the text that is stored is the text after styles
    (path, _) = folders.styles
    path.write_text('name,prompt,negative_prompt\noil,"oil, {prompt}",ugly\nbig,large,\n', "utf-8")
    assert make(engine, ear, "oil", "big").startswith("oil, a cat, large\nNegative prompt: blurry, ugly\n")
    path.write_text("name,prompt,negative_prompt\noil,in pastel,\n", "utf-8")
    assert make(engine, ear, "oil").startswith("a cat, in pastel\nNegative prompt: blurry\n")


def test_an_unknown_style_is_told_with_the_nearest_and_the_files_that_are_broken(
    engine: Engine, ear: Ear, folders: Folders
) -> None:
    # P070: its text is empty
    good, broken = folders.styles
    good.write_text("name,prompt,negative_prompt\noil,in oil,\n", "utf-8")
    broken.write_text("nonsense\n", "utf-8")
    assert make(engine, ear, "oill", "oil").startswith("a cat, in oil\n")
    notices = " ".join(notice.text for notice in ear.heard(Notice))
    assert 'Did you mean "oil"?' in notices
    assert broken.name in notices
    make(engine, ear, "oil")
    assert not ear.heard(Notice)
