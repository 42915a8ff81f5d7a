"""What there is to choose from, in A1111's shapes: `/sdapi/v1` models, networks, samplers, options and the like."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import psutil
from fastapi import APIRouter, Response
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from modules.catalogue import Entry, misfit
from modules.images import picture_text, whole_picture
from modules.params import (
    LATENT_UPSCALERS,
    PIXEL_UPSCALERS,
    SAMPLERS,
    SCHEDULES,
    complete,
    parse_infotext,
)

from .compat import ScriptInfo, ScriptLists, script_infos, script_lists
from .errors import RESPONSES
from .fetch import file_of
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
    metadata: dict[str, Any] = Field(description="What the file says of itself; values that are JSON are taken apart.")


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


class FaceRestorerItem(BaseModel):
    name: str
    cmd_dir: str | None = None


class RealEsrganItem(BaseModel):
    name: str
    path: str | None = None
    scale: int | None = None


class ExtensionItem(BaseModel):
    name: str
    remote: str
    branch: str
    commit_hash: str
    version: str
    commit_date: str
    enabled: bool


class Memory(BaseModel):
    """Bytes, or an `error` that says why there is no figure."""

    ram: dict[str, Any] = Field(examples=[{"free": 8_000_000_000, "used": 2_000_000_000, "total": 16_000_000_000}])
    cuda: dict[str, Any]


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


@router.get("/loras", response_model=list[LoraItem], summary="LoRA files")
def loras(services: Bound) -> Response:
    entries = services.catalogue.entries("lora")
    told = zip(entries, _aliases(entries), services.lora_texts.of(entries), strict=True)
    items = (lora_item(entry, alias, metadata) for entry, alias, metadata in told)
    return Response(f"[{', '.join(items)}]", media_type="application/json")


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
    """What `script_name` may be, for each task."""
    return script_lists()


@router.get("/script-info", summary="What scripts take")
def script_info() -> list[ScriptInfo]:
    """The arguments of every script, in the order of `script_args`."""
    return script_infos()


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
def face_restorers() -> list[FaceRestorerItem]:
    """None in this version."""
    return []


@router.get("/realesrgan-models", summary="RealESRGAN models")
def realesrgan_models() -> list[RealEsrganItem]:
    """None in this version."""
    return []


@router.get("/extensions", summary="Extensions")
def extensions() -> list[ExtensionItem]:
    """None in this version."""
    return []


@router.get("/memory", summary="Memory")
def memory() -> Memory:
    """The machine's memory in A1111's shape; a graphics card's is the worker's affair and not known here."""
    ram = psutil.virtual_memory()
    return Memory(
        ram={"free": ram.available, "used": ram.total - ram.available, "total": ram.total},
        cuda={"error": "not measured: the models live in the worker process"},
    )


@router.get("/cmd-flags", summary="The command line's flags")
def cmd_flags(services: Bound) -> dict[str, Any]:
    """The flags without passwords; a folder that none was given for is the one in use."""
    folders = services.catalogue.folders
    in_use = {
        "data_dir": folders.data_dir,
        "lora_dir": folders.of("lora")[0],
        "embeddings_dir": folders.of("embedding")[0],
        "hypernetwork_dir": folders.of("hypernetwork")[0],
    }
    shown = {name: str(path) for name, path in in_use.items() if services.flags.get(name) is None}
    return {**services.flags, **shown}


@router.post("/png-info", responses=RESPONSES, summary="What a picture says of itself")
async def png_info(services: Bound, payload: PngInfoPayload) -> PngInfo:
    """The text of any program's picture in A1111's words, and taken apart with every default that it implies."""
    text = payload.image.strip()
    async with services.decoding.turn([text]):
        return await run_in_threadpool(_png_info, services, text)


def _png_info(services: Services, text: str) -> PngInfo:
    found = picture_text(whole_picture(file_of(text, services.jobs.settings())))
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


@router.post("/unload-checkpoint", summary="Free the models' memory")
def unload_checkpoint(services: Bound) -> dict[str, Any]:
    """Lets go of every model until the next job; passed over while one is made."""
    services.jobs.unload_models()
    return {}


@router.post("/reload-checkpoint", summary="Load the chosen checkpoint")
def reload_checkpoint(services: Bound) -> dict[str, Any]:
    """Loads it before the next job asks for it."""
    services.jobs.load_model()
    return {}


@router.post("/refresh-hypernetworks", summary="Look for new hypernetworks")
def refresh_hypernetworks(services: Bound) -> None:
    _refresh(services, "hypernetwork")


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
        config=next((str(path) for path in (entry.path.with_suffix(".yaml"),) if path.is_file()), None),
    )


def _aliases(entries: Sequence[Entry]) -> list[str]:
    """The name that each file gives itself, where no other file has it (P055); else what a tag says for the file."""
    own = [entry.metadata.get("ss_output_name", "") for entry in entries]
    claimed = Counter(own)
    owners = {entry.name: entry for entry in entries}
    return [
        alias
        if alias.casefold() not in ("", "none") and claimed[alias] == 1 and owners.get(alias, entry) is entry
        else entry.insert
        for entry, alias in zip(entries, own, strict=True)
    ]


def lora_item(entry: Entry, alias: str, metadata: str) -> str:
    """The JSON of a `LoraItem` whose metadata is JSON already; the rest in ASCII, whatever bytes a file's name has."""
    begin = json.dumps({"name": entry.name, "alias": alias, "path": str(entry.path)})
    return f'{begin[:-1]}, "metadata": {metadata}}}'


def _embedding(entry: Entry) -> EmbeddingItem:
    said = {name: value for name, value in entry.metadata.items() if value != "None"}
    step = said.get("step", "")
    return EmbeddingItem(
        step=int(step) if step.isdecimal() else None,
        sd_checkpoint=said.get("sd_checkpoint"),
        sd_checkpoint_name=said.get("sd_checkpoint_name"),
        shape=entry.width or 0,
        vectors=entry.vectors or 0,
    )
