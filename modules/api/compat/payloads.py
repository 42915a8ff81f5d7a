"""What A1111's clients send to txt2img and img2img: every parameter of a request, and what comes on top of it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model
from pydantic.fields import FieldInfo

from modules.params import Group, Img2ImgRequest, Txt2ImgRequest


class Lenient(BaseModel):
    """A payload read as leniently as A1111's pydantic 1 reads it: a number is a text too."""

    model_config = ConfigDict(coerce_numbers_to_str=True)


def _cut(value: Any) -> Any:
    """A float without what follows its point."""
    return int(value) if isinstance(value, float) and math.isfinite(value) else value


def _named(value: Any) -> Any:
    """An empty list as an empty object: PHP knows no difference between the two."""
    return {} if value == [] else value


Whole = Annotated[int, BeforeValidator(_cut)]
Named = Annotated[dict[str, Any], BeforeValidator(_named)]


class Quirks(Lenient):
    """What A1111's payloads hold besides the parameters of the picture."""

    model_config = ConfigDict(extra="allow")

    sampler_index: str | None = Field(None, description="Old name of `sampler_name`, used when nothing else names one.")
    override_settings: Named | None = Field(
        None,
        description="Options for this picture alone, by A1111's names.",
        examples=[{"CLIP_stop_at_last_layers": 2}],
    )
    override_settings_restore_afterwards: bool | None = Field(
        True, description="False keeps `override_settings` for all later pictures too."
    )
    script_name: str | None = Field(
        None, description="A script to run, in any case: `GET /sdapi/v1/scripts` lists them. Another answers 422."
    )
    script_args: list[Any] | None = Field(
        None, description="The script's arguments in order, as `GET /sdapi/v1/script-info` lists them."
    )
    alwayson_scripts: Named | None = Field(
        None,
        description="Scripts that run with every picture, by name: `{name: {args: []}}`. One that is not installed "
        "may be named while it is off; otherwise the answer is 422.",
    )
    restore_faces: bool | None = Field(None, description="Not done in this version, which `info` says if it is true.")
    comments: Named | None = Field(None, description="Without effect, as in A1111.")
    send_images: bool | None = Field(True, description="False answers with `info` alone.")
    save_images: bool | None = Field(
        False, description="True also saves the pictures in the outputs folder, and puts their grid before them."
    )
    do_not_save_samples: bool | None = Field(False, description="Without effect, as in A1111: see `save_images`.")
    do_not_save_grid: bool | None = Field(False, description="As `do_not_save_samples`.")
    infotext: str | None = Field(None, description="The text of a picture: fills every field that is not given.")
    force_task_id: str | None = Field(None, description="A name for the job, to ask `/internal/progress` by.")


class OutputQuirks(Quirks):
    """The same for txt2img."""

    firstpass_image: str | None = Field(
        None, description="A picture as base64 or data URI, in place of the first pass of hires fix."
    )
    firstphase_width: Whole | None = Field(0, description="Old hires fix: the width of its first pass, not the last.")
    firstphase_height: Whole | None = Field(0, description="As `firstphase_width`.")


class InputQuirks(Quirks):
    """The same for img2img."""

    init_images: list[str] | None = Field(None, description="Pictures as base64 or data URIs.")
    include_init_images: bool | None = Field(False, description="True sends `init_images` back in `parameters`.")
    latent_mask: str | None = Field(None, description="Not used in this version, which `info` says.")
    mask: str | None = Field(None, description="A picture as base64 or data URI: white is made anew.")


def loose_fields(
    name: str, group: type[Group], base: type[Lenient] = Lenient, leave_out: Collection[str] = (), **defaults: Any
) -> type[BaseModel]:
    """A model with the fields of `group` behind those of `base`, each of which may also be null or missing."""
    fields: dict[str, Any] = {}
    for field_name, field in group.model_fields.items():
        if field_name in leave_out or field_name in base.model_fields:
            continue
        default = defaults.get(field_name, field.get_default(call_default_factory=True))
        limits = {} if field_name.startswith(WITHOUT_LIMITS) else _limits(field)
        is_whole = int in (field.annotation, *get_args(field.annotation))
        fields[field_name] = (
            (Whole if is_whole else field.annotation) | None,  # type: ignore[operator]
            Field(default, title=field.title, description=field.description, **limits),
        )
    return create_model(name, __base__=base, **fields)


def _limits(field: FieldInfo) -> dict[str, Any]:
    return {item: getattr(bound, item) for bound in field.metadata for item in ("ge", "le") if hasattr(bound, item)}


WITHOUT_LIMITS = "hr_"
"""How the fields begin that clients fill with anything, such as 0, while the switch before them is off."""

OF_SCRIPTS = ("script", "sd_upscale_", "soft_inpainting")
"""How the fields begin that scripts are asked for by."""

INNER_FIELDS = frozenset({"task", *(name for name in Img2ImgRequest.model_fields if name.startswith(OF_SCRIPTS))})
"""Fields of requests that this wire spells otherwise."""

# Where the old API differs from the page, and from /tagbrush/v1.
OLD_DEFAULTS: Mapping[str, Any] = {"steps": 50, "sampler_name": "Euler", "denoising_strength": 0.75}
OLD_STARTING: Mapping[str, Any] = {
    "inpainting_fill": 0,
    "inpaint_full_res": 1,
    "inpaint_full_res_padding": 0,
    "image_cfg_scale": None,
}

Txt2ImgPayload = loose_fields("Txt2ImgPayload", Txt2ImgRequest, OutputQuirks, INNER_FIELDS, **OLD_DEFAULTS)
Img2ImgPayload = loose_fields(
    "Img2ImgPayload", Img2ImgRequest, InputQuirks, INNER_FIELDS, **OLD_DEFAULTS, **OLD_STARTING
)


class GenerationAnswer(BaseModel):
    """What txt2img and img2img answer."""

    images: list[str] = Field(description="Pictures as base64, each with its infotext inside; a grid comes first.")
    parameters: dict[str, Any] = Field(description="The payload as it was understood.")
    info: str = Field(description="A JSON object in a string: seeds, prompts, infotexts, notices, ignored fields.")
