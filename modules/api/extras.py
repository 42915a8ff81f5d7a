"""A1111's Extras over HTTP: one picture or several, enlarged at once without a job."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool

from modules.params import Extras

from .compat.answers import encoded
from .compat.extras import BatchAnswer, BatchPayload, SingleAnswer, SinglePayload, enlarge, read_extras
from .errors import RESPONSES
from .services import Bound, Services

router = APIRouter(prefix="/sdapi/v1", tags=["A1111"])


@router.post("/extra-single-image", responses=RESPONSES, summary="Enlarge a picture")
async def extra_single_image(services: Bound, payload: SinglePayload) -> SingleAnswer:
    """By Lanczos or Nearest; with the upscaler "None" the picture comes back as it is."""
    image, told = await _enlarged(services, payload.image, read_extras(payload))
    return SingleAnswer(image=image, html_info=told)


@router.post("/extra-batch-images", responses=RESPONSES, summary="Enlarge pictures")
async def extra_batch_images(services: Bound, payload: BatchPayload) -> BatchAnswer:
    """The same for each of several pictures."""
    extras = read_extras(payload)
    made = [await _enlarged(services, picture.data, extras, picture.name) for picture in payload.image_list]
    return BatchAnswer(images=[image for image, _ in made], html_info="".join(told for _, told in made))


async def _enlarged(services: Services, text: str, extras: Extras, name: str = "") -> tuple[str, str]:
    """The picture that a text stands for, enlarged, as text again; and what was done to it."""

    def work() -> tuple[str, str]:
        result = enlarge(text, extras, services.jobs.settings(), name)
        return encoded(result.file), result.told

    async with services.decoding.turn([text]):
        return await run_in_threadpool(work)
