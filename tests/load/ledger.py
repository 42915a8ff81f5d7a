"""What clients asked for and what they were told, to be held against what there is in the end."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

FINAL = ("done", "failed", "cancelled", "interrupted")
SEEDS_APART = 100
"""Between the seeds of two requests: each picture of a run has a seed of its own."""


@dataclass(slots=True)
class Asked:
    """One request for `pictures` pictures; its seed names it."""

    seed: int
    pictures: int
    job_id: str | None = None
    is_stopped: bool = False
    """Whether a client asked to end it early."""
    is_certain: bool = True
    """Whether the client knows that the server has it; a request of the old API whose answer broke off may be lost."""


@dataclass(slots=True)
class Course:
    """When a run ends: at a moment, but not before every fault has come once."""

    until: float
    has_faults_to_come: bool = False

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self.until and not self.has_faults_to_come


@dataclass(slots=True)
class Ledger:
    """Everything that was asked, heard and found wrong; one asyncio loop writes it."""

    asked: dict[int, Asked] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    heard: dict[int, tuple[str, str, int]] = field(default_factory=dict)
    """The durable events by id, as who followed everything heard them: kind, job, and index of a picture (or -1)."""
    seconds: list[tuple[str, float]] = field(default_factory=list)
    """How long each status call took, by its path."""
    _seeds: int = 0

    def ask(self, pictures: int) -> Asked:
        """A new request under a seed that no other has."""
        self._seeds += SEEDS_APART
        asked = Asked(self._seeds, pictures)
        self.asked[asked.seed] = asked
        return asked

    def complain(self, what: str) -> None:
        """Note something that must not be."""
        self.wrong.append(what)

    def hear(self, kind: str, number: int, data: Mapping[str, Any]) -> None:
        """Note a durable event of the stream of everything; each is to be told once, and none left out."""
        job = str(data.get("job_id") or data.get("id"))
        said = (kind, job, int(data["index"]) if kind == "picture" else -1)
        if number in self.heard:
            self.complain(f"event {number} was told twice")
        elif self.heard and number != max(next(reversed(self.heard)), 0) + 1:
            self.complain(f"event {number} followed event {next(reversed(self.heard))}")
        self.heard[number] = said
