"""A worker that does not see the server's disk has the files of its plans brought."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from modules.catalogue import Entry
from modules.engine.needs import Needs, NotBrought, paths
from modules.jobs.messages import Here, Need

from .conftest import Ear


@dataclass(frozen=True)
class Part:
    entries: tuple[Entry, ...]
    by_name: dict[str, Entry]
    other: object = None


def entry(name: str) -> Entry:
    return Entry("lora", Path(name))


PLAN = Part((entry("/a"), entry("/b")), {"c": entry("/c")}, Part((), {}, [entry("/a"), "text", 3]))


def test_every_entry_of_a_plan_is_found_however_deep() -> None:
    assert sorted(paths(PLAN)) == [Path("/a"), Path("/a"), Path("/b"), Path("/c")]


def test_a_worker_that_sees_the_disk_asks_for_nothing(ear: Ear) -> None:
    assert Needs(ear, asks=False).met(PLAN, lambda: False)
    assert not ear.said


def test_it_waits_for_the_answer_to_its_own_question(ear: Ear) -> None:
    needs = Needs(ear, asks=True)
    ear.answers.put(Here(number=7, error="of another question"))
    threading.Timer(0.05, lambda: ear.answers.put(Here(number=1))).start()
    assert needs.met(PLAN, lambda: False)
    assert ear.said == [Need(number=1, files=("/a", "/b", "/c"))]


def test_what_could_not_be_brought_is_an_error_in_words(ear: Ear) -> None:
    ear.answers.put(Here(number=1, error="a.safetensors is gone"))
    with pytest.raises(NotBrought, match="is gone"):
        Needs(ear, asks=True).met(PLAN, lambda: False)


def test_a_job_that_is_stopped_waits_no_longer(ear: Ear) -> None:
    assert not Needs(ear, asks=True).met(PLAN, lambda: bool(ear.said))
