"""Pictures that a person gives: uploaded once, then named by the sha256 of their bytes."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Request, Response
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from modules.images import MAX_BYTES, open_picture, whole_picture

from .errors import MISSING, RESPONSES
from .examples import INPUT_ID, shown
from .services import Bound

router = APIRouter(prefix="/tagbrush/v1", tags=["inputs"])

PICTURE: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
PICTURE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A picture's file: `curl --data-binary @apple.png`.",
        "content": {kind: {} for kind in ("image/png", "image/jpeg", "image/webp", "application/octet-stream")},
    }
}
"""What OpenAPI says of a route whose body is a picture's bytes."""


class StoredInput(BaseModel):
    """An input as a request may name it."""

    id: Annotated[str, Field(description="The sha256 of the bytes, in hex.")]
    width: int
    height: int


@router.post(
    "/inputs",
    status_code=201,
    responses={201: shown({"id": INPUT_ID, "width": 512, "height": 512}), **RESPONSES},
    summary="Upload a picture",
    openapi_extra=PICTURE_BODY,
)
async def upload(services: Bound, request: Request) -> StoredInput:
    """Stores the body's bytes, a PNG, JPEG or WebP, and gives the id for `init_images`."""
    data = await read_body(request)
    async with services.decoding.sent:
        width, height = (await run_in_threadpool(whole_picture, data)).size
    return StoredInput(id=await run_in_threadpool(services.jobs.add_input, data), width=width, height=height)


@router.get(
    "/inputs/{input_id}",
    response_class=Response,
    responses={
        200: {
            "content": dict.fromkeys(("image/png", "image/jpeg", "image/webp"), PICTURE),
            "description": "The bytes as they came.",
        },
        **MISSING,
    },
    summary="An uploaded picture",
)
def stored(services: Bound, input_id: str) -> Response:
    """The picture again, so that a reloaded page can show it."""
    data = services.jobs.input(input_id)
    kind = open_picture(data).get_format_mimetype()
    return Response(data, media_type=kind, headers={"X-Content-Type-Options": "nosniff"})


async def read_body(request: Request) -> bytes:
    """The body of `request`; HTTP 413 as soon as it is longer than an input may be."""
    parts: list[bytes] = []
    length = 0
    async for part in request.stream():
        length += len(part)
        if length > MAX_BYTES:
            raise HTTPException(413, f"The picture is larger than {MAX_BYTES >> 20} MB. Save it smaller.")
        parts.append(part)
    return b"".join(parts)
