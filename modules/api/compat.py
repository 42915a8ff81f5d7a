"""The wire of A1111's API, with all its quirks, translated to requests and back.

Nothing else in this program knows of them: `sampler_index`, 50 steps by default, pictures as base64 inside JSON,
`info` as a JSON string inside JSON, fields that arrive as null, and some eighty fields of which a client sends all
whether it means them or not.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, create_model

from modules.images import decode_base64, whole_picture
from modules.jobs import Job, Picture
from modules.params import (
    BadRequest,
    Group,
    Img2ImgRequest,
    Infotext,
    Pasted,
    Settings,
    Txt2ImgRequest,
    find_sampler,
    make_request,
    parse_infotext,
    request_from_infotext,
)

from .errors import NotFound, Unsupported

DEFAULT_STEPS = 50
DEFAULT_SAMPLER = "Euler"


class Quirks(BaseModel):
    """What A1111's payloads hold besides the parameters of the picture."""

    model_config = ConfigDict(extra="allow")

    sampler_index: str | None = Field(None, description="Old name of `sampler_name`, used when that is not given.")
    override_settings: dict[str, Any] | None = Field(
        None,
        description="Options for this picture alone, by A1111's names.",
        examples=[{"CLIP_stop_at_last_layers": 2}],
    )
    override_settings_restore_afterwards: bool | None = Field(
        True, description="False keeps `override_settings` for all later pictures too."
    )
    script_name: str | None = Field(None, description="Scripts are not there yet: a name is answered with 422.")
    script_args: list[Any] | None = None
    alwayson_scripts: dict[str, Any] | None = Field(
        None, description="Scripts are not there yet: one with arguments is answered with 422."
    )
    send_images: bool | None = Field(True, description="False answers with `info` alone.")
    save_images: bool | None = Field(False, description="True also saves the pictures in the outputs folder.")
    do_not_save_samples: bool | None = Field(False, description="True overrules `save_images`.")
    infotext: str | None = Field(None, description="The text of a picture: fills every field that is not given.")


class InputQuirks(Quirks):
    """The same for img2img."""

    init_images: list[str] | None = Field(None, description="Pictures as base64 or data URIs.")
    include_init_images: bool | None = Field(False, description="True sends `init_images` back in `parameters`.")
    mask: str | None = Field(None, description="Inpainting is not there yet: a mask is answered with 422.")


def _payload(name: str, request: type[Group], quirks: type[Quirks], **defaults: Any) -> type[Quirks]:
    """A payload model with the fields of `request`, each of which may also be null or missing."""
    fields: dict[str, Any] = {}
    for field_name, field in request.model_fields.items():
        if field_name == "task" or field_name in quirks.model_fields:
            continue
        default = defaults.get(field_name, field.get_default(call_default_factory=True))
        limits = {
            item: getattr(bound, item) for bound in field.metadata for item in ("ge", "le") if hasattr(bound, item)
        }
        fields[field_name] = (
            field.annotation | None,  # type: ignore[operator]
            Field(default, title=field.title, description=field.description, **limits),
        )
    return create_model(name, __base__=quirks, **fields)


Txt2ImgPayload = _payload("Txt2ImgPayload", Txt2ImgRequest, Quirks, steps=DEFAULT_STEPS, sampler_name=DEFAULT_SAMPLER)
Img2ImgPayload = _payload(
    "Img2ImgPayload", Img2ImgRequest, InputQuirks, steps=DEFAULT_STEPS, sampler_name=DEFAULT_SAMPLER
)


class GenerationAnswer(BaseModel):
    """What txt2img and img2img answer."""

    images: list[str] = Field(description="Pictures as base64, each with its infotext inside.")
    parameters: dict[str, Any] = Field(description="The payload as it was understood.")
    info: str = Field(description="A JSON object in a string: seeds, prompts, infotexts, notices, ignored fields.")


# Fields of A1111 that this version does not act on, with the values at which that makes no difference.
# None and a missing field never do. A field whose owner is off makes none either, whatever its value.
HARMLESS: Mapping[str, tuple[Any, ...]] = {
    "disable_extra_networks": (False,),
    "enable_hr": (False,),
    "firstphase_height": (0,),
    "firstphase_width": (0,),
    "firstpass_image": ("",),
    "initial_noise_multiplier": (1,),
    "latent_mask": ("",),
    "refiner_checkpoint": ("", "None"),
    "restore_faces": (False,),
    "s_churn": (0,),
    "s_min_uncond": (0,),
    "s_noise": (1,),
    "s_tmax": (0,),
    "s_tmin": (0,),
    "seed_resize_from_h": (0, -1),
    "seed_resize_from_w": (0, -1),
    "subseed_strength": (0,),
    "tiling": (False,),
}
OWNED: Mapping[str, str] = {
    "denoising_strength": "enable_hr",
    "inpaint_full_res": "mask",
    "inpaint_full_res_padding": "mask",
    "inpainting_fill": "mask",
    "inpainting_mask_invert": "mask",
    "mask_blur": "mask",
    "mask_blur_x": "mask",
    "mask_blur_y": "mask",
    "mask_round": "mask",
    "refiner_switch_at": "refiner_checkpoint",
    "subseed": "subseed_strength",
}
WITHOUT_EFFECT = frozenset({"comments", "do_not_save_grid", "force_task_id", "image_cfg_scale", "script_args"})


@dataclass(frozen=True)
class Translated:
    """A payload as the rest of the program understands it."""

    request: Txt2ImgRequest | Img2ImgRequest
    parameters: Mapping[str, Any]
    ignored: tuple[str, ...] = ()
    lasting: Mapping[str, Any] | None = None
    sends_images: bool = True


def translate(payload: Quirks, task: str, keep_input: Callable[[bytes], str]) -> Translated:
    """The request a payload asks for, what of it was ignored, and what it changes for good.

    `keep_input(bytes)` stores an input picture and gives its id.
    Raises Unsupported for scripts and masks, NotFound for img2img without a picture, BadPicture for one that is none
    (A1111 answers 500 there; 422 says whose mistake it is), BadRequest and UnknownName for values.
    """
    _refuse_unsupported(payload)
    given = {name: getattr(payload, name) for name in payload.model_fields_set if getattr(payload, name) is not None}
    pasted = request_from_infotext(payload.infotext, task) if payload.infotext else Pasted({}, {})
    # A1111 leaves the model as it is unless told otherwise, whatever the text says it was made with.
    overrides = {name: value for name, value in pasted.settings.items() if name != "sd_model_checkpoint"}
    overrides |= payload.override_settings or {}
    known = {name: value for name, value in overrides.items() if name in Settings.model_fields}
    fields = _fields(payload, {**type(payload)().model_dump(exclude_none=True), **pasted.fields, **given})
    if sampler := given.get("sampler_name") or given.get("sampler_index"):
        fields["sampler_name"] = sampler
    if isinstance(payload, InputQuirks):
        fields["init_images"] = [keep_input(picture_bytes(text)) for text in _inputs(payload)]
    request = make_request({**fields, "override_settings": known, "task": task})
    ignored = [*_ignored(given, request), *(f"override_settings.{name}" for name in overrides.keys() - known)]
    return Translated(
        request=request,
        parameters=_parameters(payload),
        ignored=tuple(sorted(ignored)),
        lasting=None if payload.override_settings_restore_afterwards in (True, None) else known,
        sends_images=payload.send_images is not False,
    )


def picture_bytes(text: str) -> bytes:
    """The file inside a base64 text or data URI, known to be a whole picture. Raises BadPicture."""
    data = decode_base64(text)
    whole_picture(data)
    return data


def answer(translated: Translated, job: Job) -> GenerationAnswer:
    """A finished job in A1111's shape. Reads the pictures' files."""
    images = [base64.b64encode(picture.path.read_bytes()).decode() for picture in job.pictures]
    return GenerationAnswer(
        images=images if translated.sends_images else [],
        parameters=dict(translated.parameters),
        info=json.dumps(generation_info(translated, job), ensure_ascii=False),
    )


def generation_info(translated: Translated, job: Job) -> dict[str, Any]:
    """The `info` object: A1111's fields, and ours: `ignored`, `notices`, `job_id`."""
    request, pictures = translated.request, job.pictures
    texts = [parse_infotext(picture.infotext) for picture in pictures]
    first = texts[0] if texts else Infotext(request.prompt, request.negative_prompt)
    width, height = (pictures[0].width, pictures[0].height) if pictures else (request.width, request.height)
    return {
        "prompt": first.prompt,
        "all_prompts": [text.prompt for text in texts],
        "negative_prompt": first.negative_prompt,
        "all_negative_prompts": [text.negative_prompt for text in texts],
        **_seeds(pictures, request.seed),
        "width": width,
        "height": height,
        "sampler_name": first.fields.get("Sampler", request.sampler_name),
        "cfg_scale": _number(first.fields.get("CFG scale"), request.cfg_scale),
        "steps": request.steps,
        "batch_size": request.batch_size,
        "restore_faces": False,
        "face_restoration_model": None,
        "sd_model_name": first.fields.get("Model", ""),
        "sd_model_hash": first.fields.get("Model hash", ""),
        "sd_vae_name": first.fields.get("VAE"),
        "sd_vae_hash": first.fields.get("VAE hash"),
        "seed_resize_from_w": -1,
        "seed_resize_from_h": -1,
        "denoising_strength": getattr(request, "denoising_strength", None),
        "extra_generation_params": {key: value for key, value in first.fields.items() if key not in STANDARD_KEYS},
        "index_of_first_image": 0,
        "infotexts": [picture.infotext for picture in pictures],
        "styles": list(request.styles),
        "job_timestamp": _timestamp(job.started or job.created),
        "clip_skip": job.settings.CLIP_stop_at_last_layers,
        "is_using_inpainting_conditioning": False,
        "version": first.fields.get("Version", ""),
        "job_id": job.id,
        "notices": list(job.notices),
        "ignored": list(translated.ignored),
    }


class State(BaseModel):
    """What A1111 tells of the running job."""

    skipped: bool = False
    interrupted: bool = False
    stopping_generation: bool = False
    job: str = ""
    job_count: int = 0
    job_timestamp: str = "0"
    job_no: int = 0
    sampling_step: int = 0
    sampling_steps: int = 0


class ProgressAnswer(BaseModel):
    """How far the running job is; all zero when none runs."""

    progress: float = Field(0.0, description="From 0 to 1.", examples=[0.35])
    eta_relative: float = Field(0.0, description="Seconds left.", examples=[4.2])
    state: State = State()
    current_image: str | None = Field(None, description="The live preview as base64.")
    textinfo: str | None = Field(None, description="What the worker is busy with besides sampling.")
    current_task: str | None = Field(None, description="The id of the job.")


def progress(active: Sequence[Job], textinfo: str, preview: bytes | None) -> ProgressAnswer:
    """The first active job as A1111 tells of it; `preview` is a small JPEG.

    A waiting job counts as begun with nothing done: to a client, progress 0 and job_count 0 together mean idle.
    """
    if not active:
        return ProgressAnswer()
    job, done = active[0], active[0].progress
    state = State(
        job=f"{job.task} {job.id}",
        job_count=done.batches if done else job.request.n_iter,
        job_timestamp=_timestamp(job.started or job.created),
        job_no=done.batch if done else 0,
        sampling_step=done.step if done else 0,
        sampling_steps=done.steps if done else job.request.steps,
    )
    return ProgressAnswer(
        progress=done.progress if done else 0.0,
        eta_relative=(done.eta or 0.0) if done else 0.0,
        state=state,
        current_image=base64.b64encode(preview).decode() if preview else None,
        textinfo=textinfo or None,
        current_task=job.id,
    )


STANDARD_KEYS = frozenset(
    {"Steps", "Sampler", "CFG scale", "Seed", "Size", "Model hash", "Model", "VAE hash", "VAE", "Clip skip", "Version"}
)


def _refuse_unsupported(payload: Quirks) -> None:
    """Raise for what would make a wholly different picture if it were passed over."""
    if payload.script_name and payload.script_name != "None":
        raise Unsupported(f'Script "{payload.script_name}" is not installed. Leave script_name empty.')
    for name, script in (payload.alwayson_scripts or {}).items():
        if not isinstance(script, Mapping) or script.get("args"):
            raise Unsupported(f'Script "{name}" is not installed. Leave it out of alwayson_scripts.')
    if isinstance(payload, InputQuirks) and payload.mask:
        raise Unsupported("Inpainting is not there yet. Leave mask out to redraw the whole picture.")


def _inputs(payload: InputQuirks) -> list[str]:
    if not payload.init_images:
        raise NotFound("Init image not found: send at least one picture in init_images.")
    return payload.init_images


def _fields(payload: Quirks, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `values` that are fields of the request."""
    request_type = Img2ImgRequest if isinstance(payload, InputQuirks) else Txt2ImgRequest
    fields = {name: value for name, value in values.items() if name in request_type.model_fields}
    fields["save_images"] = bool(values.get("save_images")) and not values.get("do_not_save_samples")
    return fields


def _ignored(given: Mapping[str, Any], request: Txt2ImgRequest | Img2ImgRequest) -> list[str]:
    """The names of fields that ask for something this version does not do."""
    understood = {*InputQuirks.model_fields, *type(request).model_fields, *WITHOUT_EFFECT}
    # Eta is left at its default: 0 for DDIM and its like, 1 for samplers that add noise as they go.
    eta = 0 if find_sampler(request.sampler_name)[0].timesteps else 1
    harmless = {**HARMLESS, "eta": (eta,)}
    return [name for name in given if name not in understood and _asks_for_something(name, given, harmless)]


def _asks_for_something(name: str, given: Mapping[str, Any], harmless: Mapping[str, tuple[Any, ...]]) -> bool:
    owner = "enable_hr" if name.startswith(("hr_", "firstphase_")) else OWNED.get(name)
    if owner is not None:
        return owner in given and _asks_for_something(owner, given, harmless)
    return given[name] not in harmless.get(name, ())


def _parameters(payload: Quirks) -> dict[str, Any]:
    """The payload as A1111 sends it back: without the input pictures unless they are asked for."""
    try:
        parameters = payload.model_dump(mode="json")
    except ValueError as error:  # pydantic has a limit of depth, and json a deeper one
        raise BadRequest("The payload is nested too deeply. Send plain values, lists and small objects.") from error
    if isinstance(payload, InputQuirks) and not payload.include_init_images:
        parameters["init_images"] = None
    return parameters


def _seeds(pictures: Sequence[Picture], asked: int) -> dict[str, Any]:
    seeds = [picture.seed for picture in pictures]
    subseeds = [picture.subseed for picture in pictures]
    return {
        "seed": seeds[0] if seeds else asked,
        "all_seeds": seeds,
        "subseed": subseeds[0] if subseeds else -1,
        "all_subseeds": subseeds,
        "subseed_strength": 0,
    }


def _number(text: str | None, otherwise: float | None) -> float | None:
    try:
        return float(text) if text else otherwise
    except ValueError:
        return otherwise


def _timestamp(seconds: float) -> str:
    """A1111's job timestamp, local time without separators."""
    return datetime.fromtimestamp(seconds).strftime("%Y%m%d%H%M%S")
