"""A1111's API: `/sdapi/v1`, in the shapes its clients know. The translation is in `compat`."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request
from starlette.concurrency import run_in_threadpool

from modules.catalogue import resolve
from modules.jobs import Job, JobState
from modules.params import Pasted, Settings, parse_infotext, request_from_info

from . import compat
from .bodies import forget_body
from .checks import check_job
from .errors import MISSING, RESPONSES, JobFailed, JobRefused
from .events import finished
from .fetch import picture_of
from .later import Later
from .services import Bound, Services

router = APIRouter(prefix="/sdapi/v1", tags=["A1111"])

PROMPT: dict[str, Any] = {
    "plain": {
        "summary": "A picture",
        "value": {"prompt": "a red apple on a blue background", "steps": 20, "seed": 1, "sampler_name": "Euler a"},
    },
    "lora": {
        "summary": "With a LoRA and clip skip",
        "value": {
            "prompt": "a cat <lora:sketch:0.8>",
            "negative_prompt": "blurry",
            "steps": 20,
            "override_settings": {"CLIP_stop_at_last_layers": 2},
        },
    },
}
REDRAW: dict[str, Any] = {
    "plain": {
        "summary": "A picture redrawn",
        "value": {"init_images": ["iVBORw0KGgo..."], "prompt": "a lemon", "denoising_strength": 0.6, "steps": 20},
    }
}


@router.post("/txt2img", response_model=compat.GenerationAnswer, responses=RESPONSES, summary="A picture from words")
async def txt2img(
    services: Bound,
    request: Request,
    payload: Annotated[compat.Txt2ImgPayload, Body(openapi_examples=PROMPT)],  # type: ignore[valid-type]
) -> Later:
    """Waits until the pictures are done. A client that leaves meanwhile does not stop them, as in A1111."""
    return await _generate(services, request, payload, "txt2img")


@router.post(
    "/img2img",
    response_model=compat.GenerationAnswer,
    responses={**RESPONSES, **MISSING},
    summary="A picture from a picture",
)
async def img2img(
    services: Bound,
    request: Request,
    payload: Annotated[compat.Img2ImgPayload, Body(openapi_examples=REDRAW)],  # type: ignore[valid-type]
) -> Later:
    """Waits until the pictures are done."""
    return await _generate(services, request, payload, "img2img")


async def _generate(services: Services, request: Request, payload: compat.Quirks, task: str) -> Later:
    """Submits the job; what the request held is let go before its pictures are waited for."""
    async with services.decoding.turn(compat.sent_pictures(payload)):
        translated = await run_in_threadpool(_translated, services, payload, task)
    forget_body(request)
    job = await run_in_threadpool(_submit, services, translated)
    return Later(partial(_answered, services, translated, job.id))


async def _answered(services: Services, translated: compat.Translated, job_id: str) -> compat.GenerationAnswer:
    job = await finished(services, job_id)
    if not job.state.is_final:
        raise JobFailed("Tagbrush is being stopped; the job waits in its queue for the next start.")
    if job.state is JobState.FAILED:
        kind = JobRefused if job.error_kind == "request" else JobFailed
        raise kind(job.error or "The job failed without saying why; the server's log has the details.")
    return await run_in_threadpool(compat.answer, translated, job)


def _translated(services: Services, payload: compat.Quirks, task: str) -> compat.Translated:
    settings = services.jobs.settings()
    return compat.translate(
        payload,
        task,
        services.jobs.add_input,
        partial(_pasted, services, settings),
        partial(picture_of, settings=settings),
        keeps_model=settings.disable_weights_auto_swap,
    )


def _pasted(services: Services, settings: Settings, text: str, task: str, given: Collection[str]) -> Pasted:
    """What a picture's text sets of what is not given, in the names of the files that are here."""
    info = parse_infotext(text)
    pasted = request_from_info(info, task, given, backcompat=settings.auto_backcompat)
    return resolve(pasted, info, services.catalogue)


def _submit(services: Services, translated: compat.Translated) -> Job:
    check_job(services, translated.request)
    job = services.jobs.submit(translated.request)
    if translated.task_id:
        services.tasks.remember(translated.task_id, job.id)
    if translated.lasting:
        services.jobs.change_settings(translated.lasting)
    return job


@router.get("/progress", summary="Progress of the running job")
def progress(services: Bound, skip_current_image: bool = False) -> compat.ProgressAnswer:
    """Progress, ETA, state and the live preview."""
    active = services.jobs.in_hand()
    last = next(iter(services.jobs.list(limit=1)), None) if not active else None
    preview = services.jobs.preview(active[0].id) if active and not skip_current_image else None
    task = services.tasks.name(active[0].id) if active else ""
    return compat.progress(active, services.jobs.worker.message, preview, task, last)


@router.post("/interrupt", summary="Interrupt the running jobs")
def interrupt(services: Bound) -> dict[str, Any]:
    """Stops what runs within one step; finished pictures are kept. Where nothing runs yet, the next job is taken off
    the queue.
    """
    for job in services.jobs.in_hand():
        services.jobs.interrupt(job.id)
    return {}


@router.post("/skip", summary="Skip to the next batch")
def skip(services: Bound) -> None:
    """Leaves the batch that each running job is at."""
    for job in services.jobs.in_hand():
        services.jobs.skip(job.id)
