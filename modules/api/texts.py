"""The texts of pictures: taken apart, and put into the names of the files that are here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from modules.catalogue import resolve
from modules.images import read_metadata
from modules.params import Infotext, format_infotext, parse_infotext, request_from_info
from modules.params.foreign import read_text
from modules.prompt import unstyled_fields

from .errors import RESPONSES
from .examples import shown
from .inputs import PICTURE_BODY, read_body
from .services import Bound, Services

router = APIRouter(prefix="/tagbrush/v1", tags=["texts"])

Task = Literal["txt2img", "img2img"]


LEMON = "a lemon\nSteps: 20, Sampler: Euler a, Seed: 1, Size: 128x128"


class InfotextPayload(BaseModel):
    text: Annotated[str, Field(max_length=1_000_000, examples=[LEMON])]
    task: Task = "txt2img"


class ParsedInfotext(BaseModel):
    """What a picture's text sets."""

    text: str
    fields: dict[str, Any] = Field(description="Fields of the request.")
    settings: dict[str, Any] = Field(description="Options, for override_settings.")
    changes: dict[str, Any] = Field(
        description="Those of the options that are not as they are now; the checkpoint only if pasting may change it."
    )
    notices: list[str] = Field(description="What could not be used, and what is missing here.")
    program: str = Field("", description="The program that made the picture, where it is none of A1111's kin.")
    items: dict[str, Any] = Field({}, description="What else the file says of itself.")


READ = ParsedInfotext(
    text=LEMON,
    fields={
        "prompt": "a lemon",
        "steps": 20,
        "sampler_name": "Euler a",
        "seed": 1,
        "width": 128,
        "height": 128,
    },
    settings={},
    changes={},
    notices=[],
).model_dump(mode="json")


@router.post("/infotext/parse", responses={200: shown(READ)}, summary="Take a picture's text apart")
def parse(services: Bound, payload: InfotextPayload) -> ParsedInfotext:
    """What the text sets: request fields and options. A graph of ComfyUI's is understood too."""
    program, info = read_text(payload.text)
    text = format_infotext(info) if program else payload.text
    return _parsed(services, info, text, payload.task, program=program)


@router.post(
    "/infotext/read",
    responses={200: shown(READ), **RESPONSES},
    summary="Read a picture's text",
    openapi_extra=PICTURE_BODY,
)
async def read(services: Bound, request: Request, task: Task = "txt2img") -> ParsedInfotext:
    """The same from a picture's file, sent as the body: of A1111 and its kin, and of other programs (T001)."""
    data = await read_body(request)

    def work() -> ParsedInfotext:
        found = read_metadata(data)
        info = parse_infotext(found.infotext)
        return _parsed(services, info, found.infotext, task, program=found.program, items=found.items)

    async with services.decoding.sent:
        return await run_in_threadpool(work)


def _parsed(
    services: Services,
    info: Infotext,
    text: str,
    task: Task,
    *,
    program: str = "",
    items: Mapping[str, str] | None = None,
) -> ParsedInfotext:
    current = services.jobs.settings()
    pasted = resolve(
        request_from_info(info, task, backcompat=current.auto_backcompat),
        info,
        services.catalogue,
    )
    changes = {name: value for name, value in pasted.settings.items() if getattr(current, name) != value}
    if current.disable_weights_auto_swap:
        changes.pop("sd_model_checkpoint", None)
    return ParsedInfotext(
        text=text,
        fields=unstyled_fields(pasted.fields, services.styles.entries(), current.infotext_styles),
        settings=dict(pasted.settings),
        changes=changes,
        notices=list(pasted.notices),
        program=program,
        items=dict(items or {}),
    )
