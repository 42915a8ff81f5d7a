"""What the server answers, as values. A newer server's further fields are passed over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict

FINAL = frozenset({"done", "failed", "cancelled", "interrupted"})


class Answer(BaseModel):
    """Something the server said."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Picture(Answer):
    """A finished picture; `kind` tells masks and grids from the pictures asked for."""

    index: int
    seed: int
    subseed: int
    infotext: str
    width: int
    height: int
    kind: str
    url: str


class Progress(Answer):
    """How far a running job is: `progress` from 0 to 1, `eta` in seconds."""

    job_id: str
    batch: int
    batches: int
    step: int
    steps: int
    images_done: int
    images: int
    progress: float
    eta: float | None = None


class Job(Answer):
    """A request on its way to pictures; times are seconds since 1970. `wanted` is the state in which someone asked a
    running one to end.
    """

    id: str
    task: str
    state: str
    wanted: str | None = None
    position: int | None = None
    created: float
    started: float | None = None
    finished: float | None = None
    error: str | None = None
    error_kind: str | None = None
    request: Mapping[str, Any]
    progress: Progress | None = None
    pictures: tuple[Picture, ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def is_over(self) -> bool:
        return self.state in FINAL


class Queue(Answer):
    """The jobs that are not over, in the order in which they will be done."""

    running: tuple[Job, ...]
    waiting: tuple[Job, ...]


class Stored(Answer):
    """An uploaded picture: `id` is what requests call it by."""

    id: str
    width: int
    height: int


class Card(Answer):
    """A checkpoint, VAE, LoRA, hypernetwork or embedding."""

    id: str
    kind: str
    name: str
    insert: str
    title: str
    category: str
    family: str
    description: str
    activation_text: str
    negative_text: str
    preferred_weight: float | None
    size: int
    error: str | None
    skipped: str | None = None
    preview: str | None = None


class Details(Card):
    """A card with what its file says of itself."""

    path: str
    sha256: str | None
    notes: str
    metadata: Mapping[str, Any]


class Cards(Answer):
    """One page of cards, of `total` that match."""

    total: int
    items: tuple[Card, ...]
    categories: tuple[str, ...]


class Style(Answer):
    name: str
    prompt: str = ""
    negative_prompt: str = ""


class Survey(Answer):
    """A prompt's length in tokens, the room that its chunks have, and what is wrong with its brackets."""

    used: int
    limit: int
    problems: tuple[str, ...]


class Surveys(Answer):
    prompt: Survey
    negative_prompt: Survey


class Text(Answer):
    """What the text of a picture sets: fields of a request, and options for `override_settings`."""

    text: str
    fields: Mapping[str, Any]
    settings: Mapping[str, Any]
    notices: tuple[str, ...]
    program: str = ""
    items: Mapping[str, Any] = {}


class Worker(Answer):
    """What a worker is doing, and for which job: starting, ready, busy or dead."""

    state: str
    device: str = ""
    message: str = ""
    job_id: str | None = None


class Status(Answer):
    """How the server stands; `worker` is all of `workers` in one."""

    version: str
    ui: str
    worker: Worker
    workers: tuple[Worker, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened; the README lists the kinds and their data."""

    kind: str
    data: Mapping[str, Any] = field(default_factory=dict)
    id: str | None = None

    @property
    def job(self) -> Job:
        """The job of a `job` event."""
        return Job.model_validate(self.data)

    @property
    def progress(self) -> Progress:
        """The figures of a `progress` event."""
        return Progress.model_validate(self.data)

    @property
    def picture(self) -> Picture:
        """The picture of a `picture` event."""
        return Picture.model_validate(self.data)
