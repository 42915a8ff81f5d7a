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
    OLD_SIDE,
    BadRequest,
    Group,
    Img2ImgRequest,
    Infotext,
    Pasted,
    Settings,
    Txt2ImgRequest,
    make_request,
    old_first_pass,
    parse_infotext,
    request_from_infotext,
)

from .errors import NotFound, Unsupported


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


class OutputQuirks(Quirks):
    """The same for txt2img."""

    firstpass_image: str | None = Field(
        None, description="A picture as base64 or data URI, in place of the first pass of hires fix."
    )
    firstphase_width: int | None = Field(0, description="Old hires fix: the first pass's width; `width` is the last's.")
    firstphase_height: int | None = Field(0, description="As `firstphase_width`.")


class InputQuirks(Quirks):
    """The same for img2img."""

    init_images: list[str] | None = Field(None, description="Pictures as base64 or data URIs.")
    include_init_images: bool | None = Field(False, description="True sends `init_images` back in `parameters`.")
    mask: str | None = Field(None, description="A picture as base64 or data URI: white is made anew.")


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


# Where the old API differs from the page, and from /tagbrush/v1.
OLD_DEFAULTS: Mapping[str, Any] = {"steps": 50, "sampler_name": "Euler", "denoising_strength": 0.75}
OLD_INPAINTING: Mapping[str, Any] = {"inpainting_fill": 0, "inpaint_full_res": 1, "inpaint_full_res_padding": 0}

Txt2ImgPayload = _payload("Txt2ImgPayload", Txt2ImgRequest, OutputQuirks, **OLD_DEFAULTS)
Img2ImgPayload = _payload("Img2ImgPayload", Img2ImgRequest, InputQuirks, **OLD_DEFAULTS, **OLD_INPAINTING)


class GenerationAnswer(BaseModel):
    """What txt2img and img2img answer."""

    images: list[str] = Field(description="Pictures as base64, each with its infotext inside.")
    parameters: dict[str, Any] = Field(description="The payload as it was understood.")
    info: str = Field(description="A JSON object in a string: seeds, prompts, infotexts, notices, ignored fields.")


# Fields of A1111 that this version does not act on, with the values at which that makes no difference.
# None and a missing field never do. A field whose owner is off makes none either, whatever its value.
HARMLESS: Mapping[str, tuple[Any, ...]] = {
    "latent_mask": ("",),
    "restore_faces": (False,),
}
WITHOUT_EFFECT = frozenset({"comments", "do_not_save_grid", "force_task_id", "script_args"})


@dataclass(frozen=True)
class Translated:
    """A payload as the rest of the program understands it."""

    request: Txt2ImgRequest | Img2ImgRequest
    parameters: Mapping[str, Any]
    ignored: tuple[str, ...] = ()
    lasting: Mapping[str, Any] | None = None
    sends_images: bool = True


def translate(
    payload: Quirks,
    task: str,
    keep_input: Callable[[bytes], str],
    paste: Callable[[str, str], Pasted] = request_from_infotext,
) -> Translated:
    """The request a payload asks for, what of it was ignored, and what it changes for good.

    `keep_input(bytes)` stores an input picture and gives its id; `paste(text, task)` reads a picture's text.
    Raises Unsupported for scripts, NotFound for img2img without a picture, BadPicture for one that is none
    (A1111 answers 500 there; 422 says whose mistake it is), BadRequest and UnknownName for values.
    """
    _refuse_unsupported(payload)
    given = {name: getattr(payload, name) for name in payload.model_fields_set if getattr(payload, name) is not None}
    pasted = paste(payload.infotext, task) if payload.infotext else Pasted({}, {})
    # A1111 leaves the model as it is unless told otherwise, whatever the text says it was made with.
    overrides = {name: value for name, value in pasted.settings.items() if name != "sd_model_checkpoint"}
    overrides |= payload.override_settings or {}
    known = {name: value for name, value in overrides.items() if name in Settings.model_fields}
    fields = _fields(payload, {**type(payload)().model_dump(exclude_none=True), **pasted.fields, **given})
    if sampler := given.get("sampler_name") or given.get("sampler_index"):
        fields["sampler_name"] = sampler
    if isinstance(payload, InputQuirks):
        fields["init_images"] = [keep_input(picture_bytes(text)) for text in _inputs(payload)]
        fields["mask"] = keep_input(picture_bytes(payload.mask)) if payload.mask else ""
        if "mask_blur" in given:  # there it overrules the two that say it apart
            fields |= {"mask_blur_x": None, "mask_blur_y": None}
    else:
        fields |= _old_hires(payload, fields)
        first = getattr(payload, "firstpass_image", None)
        fields["firstpass_image"] = keep_input(picture_bytes(first)) if first else ""
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
    request, pictures = translated.request, [picture for picture in job.pictures if picture.kind == "picture"]
    texts = [parse_infotext(picture.infotext) for picture in pictures]
    first = texts[0] if texts else Infotext(request.prompt, request.negative_prompt)
    width, height = _size(first.fields.get("Size", "")) or (request.width, request.height)
    return {
        "prompt": first.prompt,
        "all_prompts": [text.prompt for text in texts],
        "negative_prompt": first.negative_prompt,
        "all_negative_prompts": [text.negative_prompt for text in texts],
        **_seeds(pictures, request),
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
        "seed_resize_from_w": request.seed_resize_from_w or -1,
        "seed_resize_from_h": request.seed_resize_from_h or -1,
        "denoising_strength": request.denoising_strength if _has_strength(request) else None,
        "extra_generation_params": {key: value for key, value in first.fields.items() if key not in STANDARD_KEYS},
        "index_of_first_image": 0,
        "infotexts": [picture.infotext for picture in pictures],
        "styles": list(request.styles),
        "job_timestamp": _timestamp(job.started or job.created),
        "clip_skip": job.settings.CLIP_stop_at_last_layers,
        "is_using_inpainting_conditioning": "Conditional mask weight" in first.fields,
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


def _old_hires(payload: Quirks, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of hires fix as A1111 had it before 1.2: the first pass has sizes of its own, the last is the target.

    Like there, a field of them that is 0 means the size that keeps the shape at an area of 512 x 512.
    """
    first = tuple(getattr(payload, f"firstphase_{side}", 0) or 0 for side in ("width", "height"))
    target = tuple(fields.get(side) or OLD_SIDE for side in ("width", "height"))
    if not fields.get("enable_hr") or not any(first):
        return {}
    if not all(first):
        first = old_first_pass(*target)
    return {"width": first[0], "height": first[1], "hr_resize_x": target[0], "hr_resize_y": target[1]}


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
    """The names of fields that ask for something this version does not do, or not in this task."""
    quirks = InputQuirks if isinstance(request, Img2ImgRequest) else OutputQuirks
    understood = {*quirks.model_fields, *type(request).model_fields, *WITHOUT_EFFECT}
    return [name for name in given if name not in understood and not _says_nothing(name, given[name])]


def _says_nothing(name: str, value: Any) -> bool:
    """Whether a field is at a value that asks for nothing: clients send the fields of both tasks."""
    other = {**Txt2ImgPayload.model_fields, **Img2ImgPayload.model_fields}.get(name)
    return value in HARMLESS.get(name, ()) or (other is not None and value in (other.default, "", 0, False, -1))


def _parameters(payload: Quirks) -> dict[str, Any]:
    """The payload as A1111 sends it back: without the input pictures unless they are asked for."""
    try:
        parameters = payload.model_dump(mode="json")
    except ValueError as error:  # pydantic has a limit of depth, and json a deeper one
        raise BadRequest("The payload is nested too deeply. Send plain values, lists and small objects.") from error
    if isinstance(payload, InputQuirks) and not payload.include_init_images:
        parameters |= {"init_images": None, "mask": None}
    return parameters


def _has_strength(request: Txt2ImgRequest | Img2ImgRequest) -> bool:
    return isinstance(request, Img2ImgRequest) or request.enable_hr


def _seeds(pictures: Sequence[Picture], asked: Txt2ImgRequest | Img2ImgRequest) -> dict[str, Any]:
    seeds = [picture.seed for picture in pictures]
    subseeds = [picture.subseed for picture in pictures]
    return {
        "seed": seeds[0] if seeds else asked.seed,
        "all_seeds": seeds,
        "subseed": subseeds[0] if subseeds else asked.subseed,
        "all_subseeds": subseeds,
        "subseed_strength": asked.subseed_strength,
    }


def _size(text: str) -> tuple[int, int] | None:
    """The size that was drawn at; hires fix and only masked make pictures of others."""
    width, _, height = text.partition("x")
    return (int(width), int(height)) if width.isdecimal() and height.isdecimal() else None


def _number(text: str | None, otherwise: float | None) -> float | None:
    try:
        return float(text) if text else otherwise
    except ValueError:
        return otherwise


def _timestamp(seconds: float) -> str:
    """A1111's job timestamp, local time without separators."""
    return datetime.fromtimestamp(seconds).strftime("%Y%m%d%H%M%S")
