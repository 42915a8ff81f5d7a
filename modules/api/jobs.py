"""Jobs over HTTP: submit, look, stop, and fetch what was made."""

from __future__ import annotations

import mimetypes
from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Query, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field

from modules.jobs import Job
from modules.params import Request

from .checks import check_job
from .errors import MISSING, RESPONSES, NotFound
from .services import Bound

router = APIRouter(prefix="/tagbrush/v1", tags=["jobs"])

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
            "init_images": ["9f86d081884c7d65..."],
            "denoising_strength": 0.6,
        },
    },
}


class Place(BaseModel):
    """A place in the queue."""

    model_config = ConfigDict(extra="forbid")

    position: int = Field(ge=1, description="1 is next; past the end is the end.", examples=[1])


@router.post("/jobs", status_code=201, responses=RESPONSES, summary="Submit a job")
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
    job = services.jobs.submit(request, key=idempotency_key)
    response.headers["Location"] = f"/tagbrush/v1/jobs/{job.id}"
    return job


@router.get("/jobs", summary="The newest jobs")
def jobs(
    services: Bound, limit: Annotated[int, Query(ge=1, le=500)] = 50, offset: Annotated[int, Query(ge=0)] = 0
) -> list[Job]:
    """Jobs in any state, the newest first."""
    return list(services.jobs.list(limit, offset))


@router.get("/jobs/{job_id}", responses=MISSING, summary="One job")
def job(services: Bound, job_id: str) -> Job:
    """The job with its state, progress, pictures and notices."""
    return services.jobs.get(job_id)


@router.post("/jobs/{job_id}/interrupt", responses=MISSING, summary="Interrupt a job")
def interrupt(services: Bound, job_id: str) -> Job:
    """Stops a running job within one step and keeps its pictures; takes a waiting one off the queue."""
    return services.jobs.interrupt(job_id)


@router.post("/jobs/{job_id}/skip", responses=MISSING, summary="Skip a batch")
def skip(services: Bound, job_id: str) -> Job:
    """Leaves the batch that a running job is at and goes on with its next."""
    return services.jobs.skip(job_id)


@router.put("/jobs/{job_id}/position", responses={**RESPONSES, **MISSING}, summary="Move a waiting job")
def move(services: Bound, job_id: str, place: Place) -> Job:
    """Puts a job that waits at another place of the queue."""
    return services.jobs.move(job_id, place.position)


@router.delete("/jobs/{job_id}", responses=MISSING, summary="Cancel a job")
def cancel(services: Bound, job_id: str) -> Job:
    """As interrupt, but the job counts as cancelled. Its pictures stay on disk."""
    return services.jobs.cancel(job_id)


@router.get(
    "/jobs/{job_id}/pictures/{index}",
    response_class=FileResponse,
    responses={200: {"content": {"image/png": {}}, "description": "The file, its infotext inside."}, **MISSING},
    summary="A picture",
)
def picture(services: Bound, job_id: str, index: int) -> FileResponse:
    """A finished picture's file. It never changes, so a browser may keep it."""
    found = services.jobs.picture(job_id, index)
    if not found.path.is_file():
        raise NotFound(f"The file of this picture is gone: {found.path.name} was moved or removed.")
    kind = mimetypes.guess_type(found.path.name)[0] or "application/octet-stream"
    return FileResponse(
        found.path,
        media_type=kind,
        filename=found.path.name,
        content_disposition_type="inline",
        headers={"Cache-Control": "private, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"},
    )
