"""Jobs over HTTP: submit, look, stop, and fetch what was made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Query, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from modules.images import thumbnail
from modules.jobs import Job
from modules.params import Request

from . import examples
from .checks import check_job
from .errors import MISSING, RESPONSES, NotFound
from .events import finished
from .examples import shown
from .pictures import media_type
from .services import Bound, Services

router = APIRouter(prefix="/tagbrush/v1", tags=["jobs"])

LONGEST_WAIT = 60.0
"""Seconds that an answer may be held back: proxies cut longer silences."""

LARGEST_OFFSET = 2**63 - 1
"""What SQLite can count to."""

BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
UNSNIFFED = {"X-Content-Type-Options": "nosniff"}
FOR_GOOD = {"Cache-Control": "private, max-age=31536000, immutable"}
Index = Annotated[int, Field(ge=0, le=LARGEST_OFFSET, description="Counts from 0.")]

EXAMPLES: dict[str, Any] = {
    "txt2img": {
        "summary": "A picture from words",
        "value": {"task": "txt2img", "prompt": "a red apple on a blue background", "seed": 1, "steps": 20},
    },
    "lora": {
        "summary": "With a LoRA and options for this job alone",
        "value": {
            "task": "txt2img",
            "prompt": "a cat <lora:sketch:0.8>",
            "n_iter": 2,
            "override_settings": {"CLIP_stop_at_last_layers": 2},
        },
    },
    "img2img": {
        "summary": "A picture from a picture, uploaded to /tagbrush/v1/inputs before",
        "value": {
            "task": "img2img",
            "prompt": "a lemon",
            "init_images": [examples.INPUT_ID],
            "denoising_strength": 0.6,
        },
    },
}


class Place(BaseModel):
    """A place in the queue."""

    model_config = ConfigDict(extra="forbid")

    position: int = Field(ge=1, description="1 is next; past the end is the end.", examples=[1])


class Queue(BaseModel):
    """What is being made and what waits, in the order in which it will be done."""

    running: list[Job]
    waiting: list[Job]


@router.post(
    "/jobs",
    status_code=201,
    responses={
        201: {
            **shown(examples.WAITING.wire(), "The job, or the one that the same key gave before."),
            "headers": {"Location": {"description": "Where the job is.", "schema": {"type": "string"}}},
        },
        **RESPONSES,
        **MISSING,
    },
    summary="Submit a job",
)
def submit(
    services: Bound,
    response: Response,
    request: Annotated[Request, Body(openapi_examples=EXAMPLES)],
    idempotency_key: Annotated[
        str | None, Header(max_length=200, description="The same key gives the same job, however often it is sent.")
    ] = None,
) -> Job:
    """Puts the request at the end of the queue and answers at once; the seed is already decided.

    Follow it with `GET /tagbrush/v1/jobs/{id}/events`.
    """
    check_job(services, request)
    job = services.jobs.submit(request, key=idempotency_key or None)
    response.headers["Location"] = f"/tagbrush/v1/jobs/{job.id}"
    return job


@router.get("/jobs", responses={200: shown([examples.DONE.wire()])}, summary="The newest jobs")
def jobs(
    services: Bound,
    limit: Annotated[int, Query(ge=1, le=500, description="At most so many.")] = 50,
    offset: Annotated[int, Query(ge=0, le=LARGEST_OFFSET, description="Leave out so many of the newest.")] = 0,
) -> list[Job]:
    """Jobs in any state, the newest first."""
    return list(services.jobs.list(limit, offset))


@router.get(
    "/queue",
    responses={200: shown({"running": [examples.RUNNING.wire()], "waiting": [examples.WAITING.wire()]})},
    summary="The queue",
)
def queue(services: Bound) -> Queue:
    """Every job that is not over; `PUT /tagbrush/v1/jobs/{id}/position` changes the order."""
    active = services.jobs.active()
    return Queue(
        running=[job for job in active if job.position is None],
        waiting=[job for job in active if job.position is not None],
    )


@router.get("/jobs/{job_id}", responses={200: shown(examples.DONE.wire()), **MISSING}, summary="One job")
async def job(
    services: Bound,
    job_id: str,
    wait: Annotated[
        float, Query(ge=0, le=LONGEST_WAIT, description="Seconds to wait for its end before answering.")
    ] = 0,
) -> Job:
    """The job with its state, progress, pictures and notices: at once, or as soon as it is over."""
    if wait:
        return await finished(services, job_id, timeout=wait)
    return await run_in_threadpool(services.jobs.get, job_id)


@router.post(
    "/jobs/{job_id}/interrupt", responses={200: shown(examples.RUNNING.wire()), **MISSING}, summary="Interrupt a job"
)
def interrupt(services: Bound, job_id: str) -> Job:
    """Stops a running job within one step and keeps its pictures; takes a waiting one off the queue."""
    return services.jobs.interrupt(job_id)


@router.post("/jobs/{job_id}/skip", responses={200: shown(examples.RUNNING.wire()), **MISSING}, summary="Skip a batch")
def skip(services: Bound, job_id: str) -> Job:
    """Leaves the batch that a running job is at and goes on with its next."""
    return services.jobs.skip(job_id)


@router.put(
    "/jobs/{job_id}/position",
    responses={200: shown(examples.WAITING.wire()), **RESPONSES, **MISSING},
    summary="Move a waiting job",
)
def move(services: Bound, job_id: str, place: Place) -> Job:
    """Puts a job that waits at another place of the queue."""
    return services.jobs.move(job_id, place.position)


@router.delete("/jobs/{job_id}", responses={200: shown(examples.RUNNING.wire()), **MISSING}, summary="Cancel a job")
def cancel(services: Bound, job_id: str) -> Job:
    """As interrupt, but the job counts as cancelled. Its pictures stay on disk."""
    return services.jobs.cancel(job_id)


@router.get(
    "/jobs/{job_id}/preview",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": BINARY}, "description": "A small picture."}, **MISSING},
    summary="What a running job looks like",
)
def preview(services: Bound, job_id: str) -> Response:
    """The latest live preview; 404 where there is none, as before the first steps and after the end."""
    is_over = services.jobs.get(job_id).state.is_final
    found = None if is_over else services.jobs.preview(job_id)
    if found is None:
        raise NotFound(f'Job "{job_id}" has no preview now.')
    return Response(found, media_type="image/jpeg", headers={"Cache-Control": "no-store", **UNSNIFFED})


@router.get(
    "/jobs/{job_id}/pictures/{index}",
    response_class=FileResponse,
    responses={
        200: {
            "content": dict.fromkeys(("image/png", "image/jpeg", "image/webp", "image/avif"), BINARY),
            "description": "The file, its infotext inside.",
        },
        **MISSING,
    },
    summary="A picture",
)
def picture(services: Bound, job_id: str, index: Index) -> FileResponse:
    """A finished picture's file. It never changes, so a browser may keep it."""
    path = _file(services, job_id, index)
    return FileResponse(
        path,
        media_type=media_type(path),
        filename=path.name,
        content_disposition_type="inline",
        headers={**FOR_GOOD, **UNSNIFFED},
    )


@router.get(
    "/jobs/{job_id}/pictures/{index}/thumbnail",
    response_class=Response,
    responses={200: {"content": {"image/webp": BINARY}, "description": "A small picture."}, **MISSING},
    summary="A small copy of a picture",
)
def small_picture(
    services: Bound,
    job_id: str,
    index: Index,
    size: Annotated[int, Query(ge=16, le=1024, description="Pixels of its shorter side.")] = 256,
) -> Response:
    """A finished picture, made small for lists, without its infotext."""
    data = thumbnail(_file(services, job_id, index).read_bytes(), size, size)
    return Response(data, media_type="image/webp", headers={**FOR_GOOD, **UNSNIFFED})


def _file(services: Services, job_id: str, index: int) -> Path:
    """The file of a picture. Raises NotFound where somebody took it away."""
    path = services.jobs.picture(job_id, index).path
    media_type(path)
    return path
