"""How far jobs are, as A1111 tells of it: of whatever runs (`/sdapi/v1/progress`), and of one task (`/internal`)."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from pydantic import BaseModel, Field

from modules.jobs import Job, JobState

from .answers import encoded, timestamp
from .payloads import Lenient, Whole

BEGUN = 0.01
"""As far as A1111 says of every job that it is from the start: at 0 clients take the server for idle."""


class State(BaseModel):
    """What A1111 tells of the running job; `interrupted` stays until the next one."""

    skipped: bool = False
    interrupted: bool = False
    stopping_generation: bool = False
    job: str = ""
    job_count: int = Field(0, description="Batches; 0 while nothing runs.")
    job_timestamp: str = "0"
    job_no: int = Field(0, description="The batch in hand, from 0.")
    sampling_step: int = 0
    sampling_steps: int = 0


class ProgressAnswer(BaseModel):
    """How far the running job is; all zero when none runs."""

    progress: float = Field(0.0, description="From 0 to 1.", examples=[0.35])
    eta_relative: float = Field(0.0, description="Seconds left.", examples=[4.2])
    state: State = State()
    current_image: str | None = Field(None, description="The live preview as base64.")
    textinfo: str | None = Field(None, description="What the worker is busy with besides sampling.")
    current_task: str | None = Field(None, description="The job's `force_task_id`, else its id.")


class TaskPayload(Lenient):
    """Which task, and which of its previews the client has."""

    id_task: str | None = Field(None, description="A `force_task_id`, or the id of a job.", examples=["task(apple)"])
    id_live_preview: Whole | None = Field(-1, description="The preview that need not be sent again.")
    live_preview: bool | None = Field(True, description="False leaves the preview out.")


class TaskAnswer(BaseModel):
    """How far one task is; all false where nobody knows it."""

    active: bool = False
    queued: bool = False
    completed: bool = False
    progress: float | None = Field(None, description="From 0 to 1.")
    eta: float | None = Field(None, description="Seconds left.")
    live_preview: str | None = Field(None, description="A data URI.")
    id_live_preview: int = Field(-1, description="Send it with the next question.")
    textinfo: str | None = "Waiting..."


def progress(
    active: Sequence[Job], textinfo: str, preview: bytes | None, task: str = "", last: Job | None = None
) -> ProgressAnswer:
    """The first active job as A1111 tells of it; `preview` is a small JPEG, `task` the name that its client gave it.

    A waiting job counts as begun. `last` is the newest job where none is active.
    """
    if not active:
        was_stopped = last is not None and last.state in (JobState.INTERRUPTED, JobState.CANCELLED)
        return ProgressAnswer(state=State(interrupted=was_stopped))
    job, done = active[0], active[0].progress
    state = State(
        skipped=done is not None and done.is_skipped,
        interrupted=job.wanted is not None,
        job=f"{job.task} {job.id}",
        job_count=done.batches if done else job.request.n_iter,
        job_timestamp=timestamp(job.started or job.created),
        job_no=done.batch if done else 0,
        sampling_step=done.step if done else 0,
        sampling_steps=done.steps if done else job.request.steps,
    )
    return ProgressAnswer(
        progress=min(1.0, BEGUN + (done.progress if done else 0.0)),
        eta_relative=(done.eta or 0.0) if done else 0.0,
        state=state,
        current_image=encoded(preview) if preview else None,
        textinfo=textinfo or None,
        current_task=task or job.id,
    )


def task_progress(job: Job, waiting: int, textinfo: str, preview: bytes | None, seen: int | None) -> TaskAnswer:
    """One job as the page of A1111 asks for it; `seen` is the preview that it shows already."""
    if job.state is JobState.QUEUED:
        return TaskAnswer(queued=True, textinfo=f"In queue: {job.position}/{waiting}")
    if job.state is not JobState.RUNNING:
        return TaskAnswer(completed=True)
    done, number = job.progress, zlib.crc32(preview) if preview else -1
    return TaskAnswer(
        active=True,
        progress=done.progress if done else 0.0,
        eta=done.eta if done else None,
        live_preview=f"data:image/jpeg;base64,{encoded(preview)}" if preview and number != seen else None,
        id_live_preview=number,
        textinfo=textinfo or None,
    )
