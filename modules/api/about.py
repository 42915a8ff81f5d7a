"""What the program is and how it stands: status, options, parameters, and the text of pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Request
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from modules.images import read_metadata
from modules.jobs import WorkerStatus
from modules.params import SAMPLERS, SCHEDULES, Img2ImgRequest, Settings, Txt2ImgRequest, request_from_infotext

from .checks import check_checkpoint
from .errors import RESPONSES
from .inputs import PICTURE_BODY, read_body
from .services import Bound, PageState

router = APIRouter(prefix="/tagbrush/v1", tags=["about"])


class Status(BaseModel):
    """How far the program has come up."""

    ui: PageState = Field(description="The page itself; a shell is shown while it is starting.")
    ui_message: str = ""
    worker: WorkerStatus


class Parameters(BaseModel):
    """Every parameter as JSON schema, with label, limits, slider range and choices."""

    txt2img: dict[str, Any]
    img2img: dict[str, Any]
    settings: dict[str, Any]
    samplers: list[str]
    schedules: list[str]


class InfotextPayload(BaseModel):
    text: Annotated[
        str, Field(max_length=1_000_000, examples=["a lemon\nSteps: 20, Sampler: Euler a, Seed: 1, Size: 128x128"])
    ]
    task: Literal["txt2img", "img2img"] = "txt2img"


class ParsedInfotext(BaseModel):
    """What a picture's text sets."""

    text: str
    fields: dict[str, Any] = Field(description="Fields of the request.")
    settings: dict[str, Any] = Field(description="Options, for override_settings.")
    notices: list[str] = Field(description="What could not be used.")
    items: dict[str, Any] = Field({}, description="What else the file says of itself.")


@router.get("/status", summary="How far the program has come up")
def status(services: Bound) -> Status:
    return Status(ui=services.page.state, ui_message=services.page.message, worker=services.jobs.worker)


@router.get("/parameters", summary="Every parameter")
def parameters() -> Parameters:
    """The page draws its controls and settings from this."""
    return Parameters(
        txt2img=Txt2ImgRequest.model_json_schema(),
        img2img=Img2ImgRequest.model_json_schema(),
        settings=Settings.model_json_schema(),
        samplers=[sampler.name for sampler in SAMPLERS],
        schedules=[schedule.label for schedule in SCHEDULES],
    )


@router.get("/options", summary="Options")
def options(services: Bound) -> Settings:
    """What holds for jobs submitted now."""
    return services.jobs.settings()


@router.post("/options", responses=RESPONSES, summary="Change options")
def change_options(
    services: Bound, changes: Annotated[Mapping[str, Any], Body(examples=[{"CLIP_stop_at_last_layers": 2}])]
) -> Settings:
    """Changes the given options for later jobs, and answers with all of them."""
    check_checkpoint(services.catalogue, changes)
    return services.jobs.change_settings(changes)


@router.post("/infotext/parse", summary="Take a picture's text apart")
def parse(payload: InfotextPayload) -> ParsedInfotext:
    """What the text sets: request fields and options."""
    return _parsed(payload.text, payload.task, {})


@router.post(
    "/infotext/read",
    responses=RESPONSES,
    summary="Read a picture's text",
    openapi_extra=PICTURE_BODY,
)
async def read(request: Request, task: Literal["txt2img", "img2img"] = "txt2img") -> ParsedInfotext:
    """The same from a picture's file, sent as the body."""
    data = await read_body(request)
    text, items = await run_in_threadpool(read_metadata, data)
    return _parsed(text, task, dict(items))


def _parsed(text: str, task: str, items: dict[str, Any]) -> ParsedInfotext:
    pasted = request_from_infotext(text, task)
    return ParsedInfotext(
        text=text, fields=dict(pasted.fields), settings=dict(pasted.settings), notices=list(pasted.notices), items=items
    )
