"""What the program is and how it stands: status, options and parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Body
from pydantic import BaseModel, Field

from modules import __version__
from modules.jobs import WorkerStatus
from modules.params import Img2ImgRequest, Settings, Txt2ImgRequest, read_ui_config

from .checks import check_checkpoint
from .choices import lists
from .errors import RESPONSES
from .examples import WORKER, shown
from .services import Bound, PageState

router = APIRouter(prefix="/tagbrush/v1", tags=["about"])


class Status(BaseModel):
    """How far the program has come up."""

    version: str
    ui: PageState = Field(description="The page itself; a shell is shown while it is starting.")
    ui_message: str = ""
    worker: WorkerStatus = Field(description="All workers in one.")
    workers: list[WorkerStatus] = Field(description="Each worker, in the order of --devices.")


class Parameters(BaseModel):
    """Every parameter as JSON schema, with label, limits, slider range and choices."""

    txt2img: dict[str, Any]
    img2img: dict[str, Any]
    settings: dict[str, Any]
    samplers: list[str]
    schedules: list[str]
    choices: dict[str, list[str]] = Field(description="The lists that a parameter's `choices` names, as they are now.")
    defaults: dict[str, dict[str, Any]] = Field(
        description="What the controls of a task begin with in place of the schema's default: A1111's ui-config.json."
    )


STATUS = Status(version=__version__, ui="ready", worker=WORKER, workers=[WORKER]).model_dump(mode="json")
STEPS = {
    "title": "Sampling steps",
    "type": "integer",
    "default": 20,
    "minimum": 1,
    "maximum": 10_000,
    "ui": [1, 150, 1],
}
PARAMETERS = {
    "txt2img": {"type": "object", "properties": {"steps": STEPS, "...": "every other parameter"}},
    "img2img": {"type": "object", "properties": {"steps": STEPS, "...": "every other parameter"}},
    "settings": {"type": "object", "properties": {"...": "every option"}},
    "samplers": ["DPM++ 2M", "Euler a"],
    "schedules": ["Automatic", "Karras"],
    "choices": {"checkpoints": ["tagbrush-mini.safetensors"], "samplers": ["DPM++ 2M", "Euler a"]},
    "defaults": {"txt2img": {}, "img2img": {}},
}
OPTIONS = Settings().model_dump(mode="json")


@router.get("/status", responses={200: shown(STATUS)}, summary="How far the program has come up")
def status(services: Bound) -> Status:
    """Whether the page is there, and what the worker is busy with."""
    return Status(
        version=__version__,
        ui=services.page.state,
        ui_message=services.page.message,
        worker=services.jobs.worker,
        workers=list(services.jobs.workers),
    )


@router.get("/parameters", responses={200: shown(PARAMETERS)}, summary="Every parameter")
def parameters(services: Bound) -> Parameters:
    """What controls and settings there are, with their limits and what they begin with."""
    listed = lists(services)
    begun = read_ui_config(services.catalogue.folders.ui_config)
    return Parameters(
        txt2img=Txt2ImgRequest.model_json_schema(),
        img2img=Img2ImgRequest.model_json_schema(),
        settings=Settings.model_json_schema(),
        samplers=listed["samplers"],
        schedules=listed["schedules"],
        choices=listed,
        defaults={"txt2img": dict(begun.txt2img), "img2img": dict(begun.img2img)},
    )


@router.get("/options", responses={200: shown(OPTIONS)}, summary="Options")
def options(services: Bound) -> Settings:
    """What holds for jobs submitted now."""
    return services.jobs.settings()


@router.post("/options", responses={200: shown(OPTIONS), **RESPONSES}, summary="Change options")
@router.patch("/options", responses={200: shown(OPTIONS), **RESPONSES}, summary="Change options")
def change_options(
    services: Bound, changes: Annotated[Mapping[str, Any], Body(examples=[{"CLIP_stop_at_last_layers": 2}])]
) -> Settings:
    """Changes the given options for later jobs, and answers with all of them."""
    check_checkpoint(services.catalogue, changes)
    return services.jobs.change_settings(changes)
