"""A1111's Extras on the wire: finished pictures enlarged."""

from __future__ import annotations

import html
from dataclasses import dataclass

from pydantic import BaseModel, Field, ValidationError

from modules.images import encode, picture_text, upscale, whole_picture
from modules.params import BadRequest, Extras, Settings, check_pixels, explain, quote

from ..errors import Unsupported
from ..fetch import file_of
from .payloads import Lenient, loose_fields

NO_FACES = "Faces are not restored in this version. Leave gfpgan_visibility and codeformer_visibility at 0."


class ExtrasPayload(loose_fields("ExtrasFields", Extras)):  # type: ignore[misc]
    """What is done to each picture."""

    show_extras_results: bool | None = Field(True, description="Without effect, as in A1111.")
    gfpgan_visibility: float | None = Field(0, ge=0, le=1, description="Above 0 answers 422: there is no such model.")
    codeformer_visibility: float | None = Field(0, ge=0, le=1, description="As `gfpgan_visibility`.")
    codeformer_weight: float | None = Field(0, ge=0, le=1)
    upscale_first: bool | None = Field(False, description="Without effect: faces are not restored.")


class SinglePayload(ExtrasPayload):
    image: str = Field(description="A picture as base64 or data URI.", examples=["iVBORw0KGgo..."])


class FileData(Lenient):
    data: str = Field(description="A picture as base64 or data URI.", examples=["iVBORw0KGgo..."])
    name: str = Field("", description="Told in `html_info`.", examples=["apple.png"])


class BatchPayload(ExtrasPayload):
    image_list: list[FileData] = Field(
        alias="imageList",
        description="The pictures, in the order of the answer.",
        examples=[[{"data": "iVBORw0KGgo...", "name": "apple.png"}]],
    )


class SingleAnswer(BaseModel):
    html_info: str = Field(description="What was done, as HTML.")
    image: str = Field(description="The picture as base64, its own text inside.")


class BatchAnswer(BaseModel):
    html_info: str = Field(description="What was done, as HTML, a paragraph for each picture.")
    images: list[str] = Field(description="The pictures as base64.")


@dataclass(frozen=True)
class Enlarged:
    """A picture's file, and what was done to it as HTML."""

    file: bytes
    told: str


def read_extras(payload: ExtrasPayload) -> Extras:
    """What is asked for. Raises Unsupported for faces, BadRequest for an upscaler that is not there."""
    if payload.gfpgan_visibility or payload.codeformer_visibility:
        raise Unsupported(NO_FACES)
    try:
        return Extras.model_validate(
            {name: value for name in Extras.model_fields if (value := getattr(payload, name)) is not None}
        )
    except ValidationError as error:
        raise BadRequest(explain(error)) from error


def enlarge(text: str, extras: Extras, settings: Settings, name: str = "") -> Enlarged:
    """The picture that a text stands for, enlarged. Raises BadPicture, and BadRequest beyond the limits."""
    image = whole_picture(file_of(text, settings))
    check_pixels(*extras.size(*image.size), settings)
    result = upscale(image, extras)
    done = ", ".join(f"{key}: {quote(value)}" for key, value in result.fields.items())
    file, _ = encode(
        result.image,
        picture_text(image).infotext,
        format=settings.samples_format,
        quality=settings.jpeg_quality,
        others={"postprocessing": done} if done else {},
    )
    return Enlarged(file, _paragraph(name, done))


def _paragraph(name: str, done: str) -> str:
    title = f"<b>{html.escape(name)}</b><br>" if name else ""
    return f"<p>{title}{html.escape(done)}</p>"
