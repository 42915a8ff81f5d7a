"""Requests: immutable values that say everything a person asked for, flat on the wire under A1111's names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, TypeAdapter, ValidationError, field_validator

from .declare import Group, param
from .errors import BadRequest
from .samplers import find_sampler, find_schedule
from .settings import explain

LARGEST_RANDOM_SEED = 4_294_967_293


class Prompting(Group):
    prompt: str = param("", "Prompt", max_length=1_000_000)
    negative_prompt: str = param("", "Negative prompt", max_length=1_000_000)
    styles: tuple[str, ...] = param((), "Styles")


class Sampling(Group):
    steps: int = param(20, "Sampling steps", infotext="Steps", ge=1, le=10_000, ui=(1, 150, 1))
    sampler_name: str = param("DPM++ 2M", "Sampling method", infotext="Sampler", choices="samplers")
    scheduler: str = param("Automatic", "Schedule type", infotext="Schedule type", choices="schedules")
    cfg_scale: float | None = param(
        None,
        "CFG Scale",
        infotext="CFG scale",
        ge=0,
        le=1_000,
        ui=(1, 30, 0.5),
        help="empty: the checkpoint's own, else 7",
    )

    @field_validator("sampler_name")
    @classmethod
    def _known_sampler(cls, name: str) -> str:
        find_sampler(name)
        return name

    @field_validator("scheduler")
    @classmethod
    def _known_schedule(cls, name: str) -> str:
        return find_schedule(name).label


class Canvas(Group):
    width: int | None = param(
        None, "Width", infotext="Size-1", ge=64, le=8192, ui=(64, 2048, 8), help="empty: the checkpoint's own"
    )
    height: int | None = param(
        None, "Height", infotext="Size-2", ge=64, le=8192, ui=(64, 2048, 8), help="empty: the checkpoint's own"
    )
    batch_size: int = param(1, "Batch size", ge=1, le=128, ui=(1, 8, 1))
    n_iter: int = param(1, "Batch count", ge=1, le=10_000, ui=(1, 100, 1))


class Seeding(Group):
    seed: int = param(-1, "Seed", infotext="Seed", ge=-1, le=2**64 - 1, help="-1: a new one each time")


class Saving(Group):
    save_images: bool = param(True, "Save pictures", help="off: kept with the job for a day, not in the outputs folder")
    override_settings: Mapping[str, Any] = param({}, "Settings for this job alone")


class Txt2ImgRequest(Saving, Seeding, Canvas, Sampling, Prompting):
    """A picture from words."""

    task: Literal["txt2img"] = "txt2img"


class Img2ImgRequest(Saving, Seeding, Canvas, Sampling, Prompting):
    """A picture from words and another picture; `init_images` are ids of stored inputs (sha256 of their bytes)."""

    task: Literal["img2img"] = "img2img"
    init_images: tuple[str, ...] = param((), "Input pictures")
    denoising_strength: float = param(
        0.75, "Denoising strength", infotext="Denoising strength", ge=0, le=1, ui=(0, 1, 0.01)
    )
    resize_mode: int = param(0, "Resize mode", ge=0, le=2, help="0 just resize, 1 crop and resize, 2 resize and fill")


R = TypeVar("R", Txt2ImgRequest, Img2ImgRequest)
Request = Annotated[Txt2ImgRequest | Img2ImgRequest, Field(discriminator="task")]
REQUEST: TypeAdapter[Txt2ImgRequest | Img2ImgRequest] = TypeAdapter(Request)


def make_request(fields: Mapping[str, Any]) -> Txt2ImgRequest | Img2ImgRequest:
    """The request that `fields` describe (`task` defaults to txt2img).

    Raises BadRequest in words for values out of their limits, UnknownName for an unknown sampler or schedule.
    """
    try:
        return REQUEST.validate_python({"task": "txt2img", **fields})
    except ValidationError as error:
        raise BadRequest(explain(error)) from error


def check_inputs(request: Txt2ImgRequest | Img2ImgRequest) -> None:
    """Nothing, if there is what `request` starts from: noise, one picture, or one for each of a batch.

    Raises BadRequest.
    """
    if not isinstance(request, Img2ImgRequest):
        return
    count = len(request.init_images)
    if count == 0:
        raise BadRequest("img2img needs a picture to start from, and got none. Add one, or use txt2img.")
    if count > 1 and count > request.batch_size:
        raise BadRequest(
            f"There are {count} pictures to start from, but a batch has {request.batch_size}. "
            f"Set the batch size to {count}, or give one picture."
        )


def with_seed(request: R, draw: Callable[[int], int]) -> R:
    """The request with its seed decided, so that a retry makes the same pictures.

    `draw(n)` returns a random integer in 0..n-1, as `random.Random.randrange` does.
    """
    if request.seed >= 0:
        return request
    return request.model_copy(update={"seed": draw(LARGEST_RANDOM_SEED + 1)})
