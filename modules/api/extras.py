"""A1111's Extras over HTTP: one picture or several, enlarged at once without a job."""

from __future__ import annotations

from fastapi import APIRouter

from .compat.answers import encoded
from .compat.extras import BatchAnswer, BatchPayload, SingleAnswer, SinglePayload, enlarge, read_extras
from .errors import RESPONSES
from .services import Bound

router = APIRouter(prefix="/sdapi/v1", tags=["A1111"])


@router.post("/extra-single-image", responses=RESPONSES, summary="Enlarge a picture")
def extra_single_image(services: Bound, payload: SinglePayload) -> SingleAnswer:
    """By Lanczos or Nearest; with the upscaler "None" the picture comes back as it is."""
    result = enlarge(payload.image, read_extras(payload), services.jobs.settings())
    return SingleAnswer(image=encoded(result.file), html_info=result.told)


@router.post("/extra-batch-images", responses=RESPONSES, summary="Enlarge pictures")
def extra_batch_images(services: Bound, payload: BatchPayload) -> BatchAnswer:
    """The same for each of several pictures."""
    extras, settings = read_extras(payload), services.jobs.settings()
    results = [enlarge(picture.data, extras, settings, picture.name) for picture in payload.image_list]
    return BatchAnswer(
        images=[encoded(result.file) for result in results], html_info="".join(result.told for result in results)
    )
