"""Requests: immutable values that say everything a person asked for, flat on the wire under A1111's names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from .errors import BadRequest
from .groups import (
    Canvas,
    Hires,
    Inpainting,
    Prompting,
    Refining,
    Sampling,
    Saving,
    Seeding,
    Starting,
)
from .script_groups import SD_UPSCALE, Scripted, SdUpscale, SoftInpainting
from .settings import explain

LARGEST_RANDOM_SEED = 4_294_967_293


class Txt2ImgRequest(Saving, Refining, Hires, Seeding, Canvas, Sampling, Prompting):
    """A picture from words."""

    task: Literal["txt2img"] = "txt2img"


class Img2ImgRequest(
    Saving,
    Refining,
    SdUpscale,
    Scripted,
    SoftInpainting,
    Inpainting,
    Starting,
    Seeding,
    Canvas,
    Sampling,
    Prompting,
):
    """A picture from words and another picture."""

    task: Literal["img2img"] = "img2img"


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


def is_tiled(request: Txt2ImgRequest | Img2ImgRequest) -> bool:
    """Whether each picture is made of tiles, of which a batch makes several together."""
    return isinstance(request, Img2ImgRequest) and request.script == SD_UPSCALE


def named_inputs(request: Txt2ImgRequest | Img2ImgRequest) -> tuple[str, ...]:
    """The ids of the stored pictures that `request` names, each once."""
    if isinstance(request, Txt2ImgRequest):
        names: tuple[str, ...] = (request.firstpass_image,)
    else:
        names = (*request.init_images, request.mask)
    return tuple(dict.fromkeys(name for name in names if name))


def check_inputs(request: Txt2ImgRequest | Img2ImgRequest) -> None:
    """Nothing, if there is what `request` starts from: noise, one picture, or one for each of a batch.

    Raises BadRequest.
    """
    if not isinstance(request, Img2ImgRequest):
        return
    count = len(request.init_images)
    if count == 0:
        raise BadRequest("img2img needs a picture to start from, and got none. Add one, or use txt2img.")
    if count > 1 and count > request.batch_size and not is_tiled(request):
        raise BadRequest(
            f"There are {count} pictures to start from, but a batch has {request.batch_size}. "
            f"Set the batch size to {count}, or give one picture."
        )


def with_seed(request: R, draw: Callable[[int], int]) -> R:
    """The request with its seeds decided, so that a retry makes the same pictures.

    `draw(n)` returns a random integer in 0..n-1, as `random.Random.randrange` does.
    """
    return request.model_copy(update={name: draw(LARGEST_RANDOM_SEED + 1) for name in _open_seeds(request)})


def is_decided_from(decided: R, request: R) -> bool:
    """Whether `decided` is what `with_seed` may have made of `request`."""
    drawn = {name: getattr(decided, name) for name in _open_seeds(request)}
    return request.model_copy(update=drawn) == decided


def _open_seeds(request: Txt2ImgRequest | Img2ImgRequest) -> list[str]:
    return [name for name in ("seed", "subseed") if getattr(request, name) < 0]
