"""What a job is, and what is told about it: the values that cross the HTTP edge as they stand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, computed_field

from modules.params import Request, Settings, TagbrushError


class JobState(StrEnum):
    """Where a job is in its life; the last four are final."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"

    @property
    def is_final(self) -> bool:
        return self not in (JobState.QUEUED, JobState.RUNNING)


PictureKind = Literal["picture", "mask", "composite"]
"""A picture, or what was asked to be shown beside an inpainted one: its mask, or the part that it marks."""

ErrorKind = Literal["request", "memory", "disk", "worker", "fault"]
"""Why a job failed: a mistake in what was asked for, too little memory, a picture that could not be saved, the death of
its worker, or a fault of Tagbrush."""

WorkerState = Literal["starting", "ready", "busy", "dead"]


class UnknownJob(TagbrushError):
    """A job id or picture that the store does not hold."""


class QueueBlocked(TagbrushError):
    """A change that the queue file cannot take just now; nothing of it is stored."""


class Record(BaseModel):
    """A frozen value with a wire form (`model_dump(mode="json")`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Picture(Record):
    """One finished picture of a job; `path` is where the worker put it and stays off the wire."""

    job_id: str = Field(exclude=True)
    index: int
    path: Path = Field(exclude=True)
    seed: int
    subseed: int = -1
    infotext: str
    width: int
    height: int
    kind: PictureKind = "picture"

    @computed_field
    @property
    def url(self) -> str:
        return f"/tagbrush/v1/jobs/{self.job_id}/pictures/{self.index}"


class Progress(Record):
    """How far a running job is; `progress` runs from 0 to 1, `eta` is in seconds.

    `is_skipped`: someone asked for the batch to be left out.
    """

    job_id: str
    batch: int
    batches: int
    step: int
    steps: int
    images_done: int = 0
    images: int = 1
    progress: float = 0.0
    eta: float | None = None
    is_skipped: bool = Field(default=False, exclude=True)


class Job(Record):
    """A request on its way to pictures.

    `position` counts from 1 among the queued jobs and is None for the others; times are seconds since 1970. `wanted` is
    the state in which someone asked a running one to end.
    `settings` is the snapshot taken at submission with `override_settings` folded in.
    """

    id: str
    task: str
    state: JobState
    wanted: JobState | None = None
    position: int | None = None
    attempts: int = 0
    created: float
    started: float | None = None
    finished: float | None = None
    error: str | None = None
    error_kind: ErrorKind | None = None
    request: Request
    settings: Settings = Field(exclude=True)
    key: str | None = Field(default=None, exclude=True)
    progress: Progress | None = None
    pictures: tuple[Picture, ...] = ()
    notices: tuple[str, ...] = ()

    def wire(self) -> dict[str, Any]:
        """The job as JSON-ready data, as routes and events carry it."""
        return self.model_dump(mode="json")


class WorkerStatus(Record):
    """What a worker is doing, and for which job; `message` is for a person."""

    state: WorkerState = "starting"
    device: str = ""
    message: str = ""
    job_id: str | None = None


EventKind = Literal["snapshot", "job", "queue", "progress", "preview", "picture", "notice", "worker", "catalogue"]

PASSING_KINDS: frozenset[str] = frozenset({"queue", "progress", "preview", "worker", "catalogue"})
"""Kinds of which only the latest matters: they are not stored, and a slow listener sees the last one alone."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened; `id` orders the durable ones and is None for the passing ones."""

    kind: EventKind
    data: Mapping[str, Any] = field(default_factory=dict)
    id: int | None = None
    job_id: str | None = None
    _text: list[str] = field(default_factory=list, compare=False, repr=False)

    @property
    def text(self) -> str:
        """The data as JSON, made once for however many listeners."""
        if not self._text:
            self._text.append(json.dumps(self.data))
        return self._text[0]
