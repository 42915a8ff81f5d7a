"""A1111's payloads, translated to requests."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from modules.catalogue.texts import sendable
from modules.images import decode_base64, whole_picture
from modules.params import (
    OLD_SIDE,
    BadRequest,
    Img2ImgRequest,
    Pasted,
    Txt2ImgRequest,
    check_inputs,
    find_sampler,
    make_request,
    old_first_pass,
    request_from_infotext,
)

from ..errors import NotFound
from .options import can_be_changed, given_options
from .payloads import (
    INNER_FIELDS,
    OLD_DEFAULTS,
    WITHOUT_LIMITS,
    Img2ImgPayload,
    InputQuirks,
    OutputQuirks,
    Quirks,
    Txt2ImgPayload,
)
from .scripts import always_on_scripts, chosen_script

HARMLESS: Mapping[str, tuple[Any, ...]] = {
    "latent_mask": ("",),
    "restore_faces": (False,),
    **dict.fromkeys(("mask_blur_x", "mask_blur_y"), (4,)),
}
"""Fields of A1111 that this version does not act on, with the values at which that makes no difference.

None and a missing field never do. A field whose owner is off makes none either, whatever its value.
"""
DEFAULTS: Mapping[str, Any] = {
    name: field.default for payload in (Txt2ImgPayload, Img2ImgPayload) for name, field in payload.model_fields.items()
}
NOT_DONE = frozenset({"restore_faces", "latent_mask"})
OVERRULED = ("do_not_save_samples", "do_not_save_grid")
"""Fields that `save_images` goes before, as in A1111."""
OF_HIRES = frozenset(name for name in Txt2ImgRequest.model_fields if name.startswith(WITHOUT_LIMITS))
NO_STYLE = ("", "None")
NO_FACES = "Faces are not restored in this version: the pictures are made without."


@dataclass(frozen=True)
class Translated:
    """A payload as the rest of the program understands it."""

    request: Txt2ImgRequest | Img2ImgRequest
    parameters: Mapping[str, Any]
    ignored: tuple[str, ...] = ()
    lasting: Mapping[str, Any] | None = None
    sends_images: bool = True
    wants_grid: bool = False
    notices: tuple[str, ...] = ()
    task_id: str = ""


def picture_bytes(text: str) -> bytes:
    """The file inside a base64 text or data URI, known to be a whole picture. Raises BadPicture."""
    data = decode_base64(text)
    whole_picture(data)
    return data


def translate(
    payload: Quirks,
    task: str,
    keep_input: Callable[[bytes], str],
    paste: Callable[[str, str, Collection[str]], Pasted] = request_from_infotext,
    read_picture: Callable[[str], bytes] = picture_bytes,
    *,
    keeps_model: bool = True,
) -> Translated:
    """The request a payload asks for, what of it was ignored, and what it changes for good.

    `keep_input(bytes)` stores an input picture and gives its id; `paste(text, task, given)` reads a picture's text but
    for the fields that are given; `read_picture(text)` gives the file that a picture is sent as. With `keeps_model`, as
    A1111 has it unless its options say otherwise, the checkpoint stays whatever `infotext` names.
    Raises Unsupported for scripts, NotFound for img2img without a picture, BadPicture for one that is none
    (A1111 answers 500 there; 422 says whose mistake it is), BadRequest and UnknownName for values.
    """
    script, (always, left_out) = chosen_script(payload, task), always_on_scripts(payload, task)
    given = {name: getattr(payload, name) for name in payload.model_fields_set if getattr(payload, name) is not None}
    pasted = _pasted(payload, {**always, **given}, task, paste)
    overrides = {
        name: value for name, value in pasted.settings.items() if not (keeps_model and name == "sd_model_checkpoint")
    }
    overrides |= given_options(payload.override_settings or {})
    known = {name: value for name, value in overrides.items() if can_be_changed(name)}
    meant = {name: value for name, value in given.items() if name not in INNER_FIELDS}
    fields = _fields(payload, {**type(payload)().model_dump(exclude_none=True), **pasted.fields, **always, **meant})
    fields["sampler_name"] = _sampler(given, {**pasted.fields, **always})
    more = {"override_settings": known, "task": task, **script}
    if isinstance(payload, InputQuirks):
        texts = _inputs(payload)
        # Whether there may be so many shows before the first is looked at, which takes memory and time.
        check_inputs(make_request({**fields, **more, "init_images": ["-" for _ in texts]}))
        fields["init_images"] = [keep_input(read_picture(text)) for text in texts]
        fields["mask"] = keep_input(read_picture(payload.mask)) if payload.mask else ""
        fields.setdefault("image_cfg_scale", None)  # which is no default there, but guidance without it
        if "mask_blur" in given:  # there it overrules the two that say it apart
            fields |= {"mask_blur_x": None, "mask_blur_y": None}
    else:
        fields |= _hires(payload, fields)
        first = getattr(payload, "firstpass_image", None)
        fields["firstpass_image"] = keep_input(read_picture(first)) if first else ""
    request = make_request({**fields, **more})
    unknown = [f"override_settings.{name}" for name in overrides.keys() - known]
    return Translated(
        request=request,
        parameters=_parameters(payload),
        ignored=tuple(sorted(sendable([*_ignored(given, request), *_overruled(payload), *unknown, *left_out]))),
        lasting=None if payload.override_settings_restore_afterwards in (True, None) else known,
        sends_images=payload.send_images is not False,
        wants_grid=bool(payload.save_images),
        notices=(*pasted.notices, *((NO_FACES,) if given.get("restore_faces") else ())),
        task_id=payload.force_task_id or "",
    )


def _pasted(
    payload: Quirks, said: Mapping[str, Any], task: str, paste: Callable[[str, str, Collection[str]], Pasted]
) -> Pasted:
    """What the payload's `infotext` sets besides what is `said`. Raises UnknownName for a sampler or a schedule."""
    if not payload.infotext:
        return Pasted({}, {})
    without = OF_HIRES if said.get("enable_hr") is False else frozenset()
    pasted = paste(payload.infotext, task, said.keys() | without)
    for error in pasted.unknown:
        raise error
    return pasted


def _sampler(given: Mapping[str, Any], elsewhere: Mapping[str, Any]) -> str:
    """The sampler that the payload names, else a script or a text of it, else the one under its old name.

    A schedule named for itself goes before the one that is part of the payload's name, as in A1111 ("LMS Karras").
    Raises UnknownName.
    """
    own = (given.get("sampler_name"), given.get("sampler_index"))
    name = own[0] or elsewhere.get("sampler_name") or own[1] or OLD_DEFAULTS["sampler_name"]
    has_schedule = given.get("scheduler") or elsewhere.get("scheduler")
    return find_sampler(name)[0].name if has_schedule and name in own else name


def _overruled(payload: Quirks) -> list[str]:
    return [name for name in OVERRULED if payload.save_images and getattr(payload, name)]


def _is_of_hires(name: str) -> bool:
    """Whether a field means nothing while hires fix is off; clients fill those with names of other servers."""
    return name.startswith(WITHOUT_LIMITS)


def _hires(payload: Quirks, fields: Mapping[str, Any]) -> dict[str, Any]:
    """What old and careless ways of asking for hires fix come to."""
    scale = fields.get("hr_scale")
    is_sized = fields.get("hr_resize_x") or fields.get("hr_resize_y")
    return _old_hires(payload, fields) | ({"hr_scale": 1.0} if scale is not None and scale < 1 and is_sized else {})


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


def sent_pictures(payload: Quirks) -> list[str]:
    """The pictures of the payload that are to be looked at, as they were sent.

    Fields of the other task may hold anything, and are none of them.
    """
    if isinstance(payload, InputQuirks):
        return [text for text in (*(payload.init_images or ()), payload.mask) if text]
    first = payload.firstpass_image if isinstance(payload, OutputQuirks) else None
    return [first] if first else []


def _inputs(payload: InputQuirks) -> list[str]:
    if not payload.init_images:
        raise NotFound("Init image not found: send at least one picture in init_images.")
    return payload.init_images


def _fields(payload: Quirks, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `values` that are fields of the request."""
    request_type = Img2ImgRequest if isinstance(payload, InputQuirks) else Txt2ImgRequest
    fields = {name: value for name, value in values.items() if name in request_type.model_fields}
    fields = {name: value for name, value in fields.items() if values.get("enable_hr") or not _is_of_hires(name)}
    fields["styles"] = [name for name in fields.get("styles", ()) if name not in NO_STYLE]
    fields["save_images"] = bool(values.get("save_images"))
    return fields


def _ignored(given: Mapping[str, Any], request: Txt2ImgRequest | Img2ImgRequest) -> list[str]:
    """The names of fields that ask for something this version does not do, or not in this task."""
    quirks = InputQuirks if isinstance(request, Img2ImgRequest) else OutputQuirks
    understood = {*quirks.model_fields, *type(request).model_fields} - INNER_FIELDS - NOT_DONE
    return [
        name
        for name in given
        if name not in understood
        and not _says_nothing(name, given[name])
        and (given.get("enable_hr") or not _is_of_hires(name))
    ]


def _says_nothing(name: str, value: Any) -> bool:
    """Whether a field is at a value that asks for nothing: clients send the fields of both tasks."""
    return value in HARMLESS.get(name, ()) or (name in DEFAULTS and value in (DEFAULTS[name], "", 0, False, -1))


def _parameters(payload: Quirks) -> dict[str, Any]:
    """The payload as A1111 sends it back: without the input pictures unless they are asked for."""
    try:
        parameters = payload.model_dump(mode="json")
    except ValueError as error:  # pydantic has a limit of depth, and json a deeper one
        raise BadRequest("The payload is nested too deeply. Send plain values, lists and small objects.") from error
    if isinstance(payload, InputQuirks) and not payload.include_init_images:
        parameters |= {"init_images": None, "mask": None}
    return sendable(parameters)
