"""What there is to choose from, in A1111's shapes: `/sdapi/v1` models, networks, samplers, options and the like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Body
from pydantic import BaseModel, Field

from modules.catalogue import Entry, misfit
from modules.images import read_metadata
from modules.params import LATENT_UPSCALERS, PIXEL_UPSCALERS, SAMPLERS, SCHEDULES, Settings, complete, parse_infotext

from .checks import check_checkpoint
from .compat import picture_bytes
from .errors import RESPONSES
from .prompts import StyleItem, styles
from .services import Bound, Services

router = APIRouter(prefix="/sdapi/v1", tags=["A1111"])

NO_RHO = -1.0
OF_THE_MODEL = frozenset({"uniform", "sgm_uniform", "simple", "normal", "ddim", "beta"})
"""Schedules of the model's own noise levels, rather than of the highest and lowest alone."""


class ModelItem(BaseModel):
    title: str
    model_name: str
    hash: str | None
    sha256: str | None
    filename: str
    config: str | None = None


class VaeItem(BaseModel):
    model_name: str
    filename: str


class SamplerItem(BaseModel):
    name: str
    aliases: list[str]
    options: dict[str, str]


class ScheduleItem(BaseModel):
    name: str
    label: str
    aliases: list[str] | None
    default_rho: float
    need_inner_model: bool


class UpscalerItem(BaseModel):
    name: str
    model_name: str | None = None
    model_path: str | None = None
    model_url: str | None = None
    scale: float | None = 4


class LatentUpscalerItem(BaseModel):
    name: str


class LoraItem(BaseModel):
    name: str
    alias: str
    path: str
    metadata: dict[str, str]


class NetworkItem(BaseModel):
    name: str
    path: str


class EmbeddingItem(BaseModel):
    step: int | None = None
    sd_checkpoint: str | None = None
    sd_checkpoint_name: str | None = None
    shape: int
    vectors: int


class EmbeddingLists(BaseModel):
    loaded: dict[str, EmbeddingItem]
    skipped: dict[str, EmbeddingItem]


class ScriptLists(BaseModel):
    txt2img: list[str] = []
    img2img: list[str] = []


class PngInfoPayload(BaseModel):
    image: str = Field(description="A picture as base64 or data URI.", examples=["iVBORw0KGgo..."])


class PngInfo(BaseModel):
    info: str = Field(description="The infotext, empty if there is none.")
    items: dict[str, Any] = Field(description="Everything else the file says of itself.")
    parameters: dict[str, Any] = Field(description="The infotext, taken apart.")


@router.get("/sd-models", summary="Checkpoints")
def sd_models(services: Bound) -> list[ModelItem]:
    return [_model(entry) for entry in services.catalogue.entries("checkpoint")]


@router.get("/sd-vae", summary="VAEs")
def sd_vae(services: Bound) -> list[VaeItem]:
    return [
        VaeItem(model_name=entry.path.name, filename=str(entry.path)) for entry in services.catalogue.entries("vae")
    ]


@router.get("/samplers", summary="Samplers")
def samplers() -> list[SamplerItem]:
    schedules = {schedule.label: schedule.name for schedule in SCHEDULES}
    return [
        SamplerItem(
            name=sampler.name,
            aliases=list(sampler.aliases),
            options={"scheduler": schedules[sampler.default_schedule]}
            if sampler.default_schedule != "Automatic"
            else {},
        )
        for sampler in SAMPLERS
    ]


@router.get("/schedulers", summary="Schedule types")
def schedulers() -> list[ScheduleItem]:
    return [
        ScheduleItem(
            name=schedule.name,
            label=schedule.label,
            aliases=list(schedule.aliases) or None,
            default_rho=NO_RHO if schedule.rho is None else schedule.rho,
            need_inner_model=schedule.name in OF_THE_MODEL,
        )
        for schedule in SCHEDULES
    ]


@router.get("/loras", summary="LoRA files")
def loras(services: Bound) -> list[LoraItem]:
    return [
        LoraItem(name=entry.name, alias=entry.insert, path=str(entry.path), metadata=dict(entry.metadata))
        for entry in services.catalogue.entries("lora")
    ]


@router.get("/hypernetworks", summary="Hypernetworks")
def hypernetworks(services: Bound) -> list[NetworkItem]:
    return [NetworkItem(name=entry.name, path=str(entry.path)) for entry in services.catalogue.entries("hypernetwork")]


@router.get("/embeddings", summary="Embeddings")
def embeddings(services: Bound) -> EmbeddingLists:
    """`skipped` holds those that cannot be read, or are for another model than the chosen one."""
    entries, checkpoint = services.catalogue.entries("embedding"), services.chosen_checkpoint()
    usable = {entry.path for entry in entries if not entry.error and not (checkpoint and misfit(entry, checkpoint))}
    return EmbeddingLists(
        loaded={entry.name: _embedding(entry) for entry in entries if entry.path in usable},
        skipped={entry.name: _embedding(entry) for entry in entries if entry.path not in usable},
    )


@router.get("/scripts", summary="Scripts")
def scripts() -> ScriptLists:
    """None yet."""
    return ScriptLists()


@router.get("/upscalers", summary="Upscalers")
def upscalers() -> list[UpscalerItem]:
    return [UpscalerItem(name=name) for name in PIXEL_UPSCALERS]


@router.get("/latent-upscale-modes", summary="Upscalers in latent space")
def latent_upscalers() -> list[LatentUpscalerItem]:
    return [LatentUpscalerItem(name=name) for name in LATENT_UPSCALERS]


@router.get("/prompt-styles", summary="Styles")
def prompt_styles(services: Bound) -> list[StyleItem]:
    return styles(services)


@router.get("/face-restorers", summary="Face restorers")
@router.get("/realesrgan-models", summary="RealESRGAN models")
@router.get("/extensions", summary="Extensions")
@router.get("/script-info", summary="What scripts take")
def nothing() -> list[Any]:
    """None in this version."""
    return []


@router.get("/memory", summary="Memory")
def memory(services: Bound) -> dict[str, Any]:
    """In A1111's shape; the figures are the worker's affair and not known here."""
    unknown = {"error": "not measured: the models live in the worker process"}
    return {"ram": unknown, "cuda": unknown}


@router.get("/cmd-flags", summary="The command line's flags")
def cmd_flags(services: Bound) -> dict[str, Any]:
    return dict(services.flags)


@router.get("/options", summary="Options")
def options(services: Bound) -> dict[str, Any]:
    """Every option, under A1111's names; the checkpoint by its title, the first one's where none is chosen."""
    settings, chosen = services.jobs.settings(), services.chosen_checkpoint()
    return {
        **settings.model_dump(mode="json"),
        "sd_model_checkpoint": chosen.title if chosen else settings.sd_model_checkpoint,
        "sd_checkpoint_hash": chosen.sha256 if chosen else None,
    }


@router.post("/options", responses=RESPONSES, summary="Change options")
def change_options(
    services: Bound, changes: Annotated[Mapping[str, Any], Body(examples=[{"sd_model_checkpoint": "tagbrush-mini"}])]
) -> dict[str, Any] | None:
    """Changes and keeps the given options. A1111 passes over those it does not know; so does this, and names them."""
    known = {name: value for name, value in changes.items() if name in Settings.model_fields}
    check_checkpoint(services.catalogue, known)
    services.jobs.change_settings(known)
    ignored = sorted(changes.keys() - known.keys())
    return {"ignored": ignored} if ignored else None


@router.post("/png-info", responses=RESPONSES, summary="What a picture says of itself")
def png_info(payload: PngInfoPayload) -> PngInfo:
    """The text of any program's picture in A1111's words, and taken apart with every default that it implies."""
    found = read_metadata(picture_bytes(payload.image))
    info = complete(parse_infotext(found.infotext))
    parsed = {"Prompt": info.prompt, "Negative prompt": info.negative_prompt, **info.fields} if found.infotext else {}
    return PngInfo(info=found.infotext, items=dict(found.items), parameters=parsed)


@router.post("/refresh-checkpoints", summary="Look for new checkpoints")
def refresh_checkpoints(services: Bound) -> None:
    _refresh(services, "checkpoint")


@router.post("/refresh-vae", summary="Look for new VAEs")
def refresh_vae(services: Bound) -> None:
    _refresh(services, "vae")


@router.post("/refresh-loras", summary="Look for new LoRA files")
def refresh_loras(services: Bound) -> None:
    _refresh(services, "lora")


@router.post("/refresh-embeddings", summary="Look for new embeddings")
def refresh_embeddings(services: Bound) -> None:
    _refresh(services, "embedding")


def _refresh(services: Services, kind: str) -> None:
    services.catalogue.refresh(kind)
    services.jobs.files_changed(kind)


def _model(entry: Entry) -> ModelItem:
    return ModelItem(
        title=entry.title,
        model_name=entry.model_name,
        hash=entry.sha256[:10] if entry.sha256 else None,
        sha256=entry.sha256,
        filename=str(entry.path),
    )


def _embedding(entry: Entry) -> EmbeddingItem:
    return EmbeddingItem(shape=entry.width or 0, vectors=entry.vectors or 0)
