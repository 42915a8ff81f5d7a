"""The routes of A1111's own page that programs use too: progress of one task, the queue, what the system is."""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from modules import __version__
from modules.jobs import Job, JobState, UnknownJob
from modules.params import Settings, parameters

from . import compat
from .services import Bound

router = APIRouter(tags=["A1111"])

PACKAGES = ("torch", "diffusers", "transformers", "safetensors", "gradio", "fastapi", "pillow")


class PendingTasks(BaseModel):
    """The jobs that wait."""

    size: int
    tasks: list[str] = Field(description="Their `force_task_id`, else their ids, the next one first.")


class QueueStatus(BaseModel):
    """The queue as gradio 3 told of it; some clients ask for it to see whether the server is there."""

    msg: str = "estimation"
    rank: int | None = None
    queue_size: int
    avg_event_process_time: float | None = None
    avg_event_concurrent_process_time: float | None = None
    rank_eta: float | None = None
    queue_eta: float = 0


class SettingHint(BaseModel):
    """An option by its name and by what a person calls it."""

    name: str
    label: str


class SystemInfo(BaseModel):
    """What a person reporting a fault is asked for."""

    model_config = ConfigDict(alias_generator=str.capitalize, populate_by_name=True)

    platform: str
    python: str
    version: str
    commandline: dict[str, Any] = Field(description="The flags, without passwords.")
    worker: dict[str, Any]
    config: dict[str, Any] = Field(description="The options.")
    packages: dict[str, str]


@router.get("/internal/ping", summary="Whether the server is there")
def ping() -> dict[str, Any]:
    """An empty object."""
    return {}


@router.post("/internal/progress", summary="Progress of one task")
def task_progress(services: Bound, payload: compat.TaskPayload) -> compat.TaskAnswer:
    """How far the job is that has this `force_task_id`, or this id."""
    try:
        job = services.jobs.get(services.tasks.job_id(payload.id_task or ""))
    except UnknownJob:
        return compat.TaskAnswer()
    preview = services.jobs.preview(job.id) if payload.live_preview is not False else None
    waiting = len(_waiting(services.jobs.active()))
    return compat.task_progress(job, waiting, services.jobs.worker.message, preview, payload.id_live_preview)


@router.get("/internal/pending-tasks", summary="The jobs that wait")
def pending_tasks(services: Bound) -> PendingTasks:
    names = [services.tasks.name(job.id) for job in _waiting(services.jobs.active())]
    return PendingTasks(size=len(names), tasks=names)


@router.get("/queue/status", summary="The length of the queue")
def queue_status(services: Bound) -> QueueStatus:
    return QueueStatus(queue_size=len(_waiting(services.jobs.active())))


@router.get("/internal/quicksettings-hint", summary="The options' names")
def quicksettings_hint() -> list[SettingHint]:
    return [SettingHint(name=name, label=declared.label) for name, declared in parameters(Settings).items()]


@router.get("/internal/sysinfo", summary="What the system is")
def sysinfo(services: Bound) -> SystemInfo:
    """For a report of a fault: system, versions, flags and options."""
    return SystemInfo(
        platform=platform.platform(),
        python=sys.version.split()[0],
        version=__version__,
        commandline=dict(services.flags),
        worker=services.jobs.worker.model_dump(mode="json"),
        config=services.jobs.settings().model_dump(mode="json"),
        packages={name: found for name in PACKAGES if (found := _version(name))},
    )


@router.get("/internal/sysinfo-download", response_model=SystemInfo, summary="The same as a file")
def sysinfo_file(services: Bound) -> Response:
    text = sysinfo(services).model_dump_json(indent=2, by_alias=True)
    headers = {"Content-Disposition": 'attachment; filename="sysinfo.json"'}
    return Response(text, media_type="application/json", headers=headers)


def _waiting(active: Sequence[Job]) -> list[Job]:
    return [job for job in active if job.state is JobState.QUEUED]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
