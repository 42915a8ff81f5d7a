"""Finished jobs as A1111 tells of them."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from modules.images import encode, whole_picture
from modules.images.grid import grid_shape, side_by_side
from modules.jobs import Job, Picture
from modules.params import Img2ImgRequest, Infotext, Txt2ImgRequest, parse_infotext

from ..errors import JobFailed, NotFound
from ..pictures import media_type
from .payloads import GenerationAnswer
from .translate import Translated

STANDARD_KEYS = frozenset(
    {"Steps", "Sampler", "CFG scale", "Seed", "Size", "Model hash", "Model", "VAE hash", "VAE", "Clip skip", "Version"}
)
LARGEST_GRID = 200
"""Megapixels, as A1111's `img_max_size_mp` has it: one of a large job could take more memory than there is."""


def answer(translated: Translated, job: Job) -> GenerationAnswer:
    """A finished job in A1111's shape: the grid, if there is one, then pictures, then masks.

    Reads their files. Raises JobFailed where one is gone.
    """
    files = [_file(picture) for picture in job.pictures] if translated.sends_images else []
    if files and has_grid(translated, job):
        files.insert(0, _grid(job, files))
    return GenerationAnswer(
        images=[encoded(file) for file in files],
        parameters=dict(translated.parameters),
        info=json.dumps(generation_info(translated, job), ensure_ascii=False),
    )


def encoded(data: bytes) -> str:
    """A file as this wire carries it."""
    return base64.b64encode(data).decode()


def has_grid(translated: Translated, job: Job) -> bool:
    """Whether a grid of the job's pictures comes before them."""
    return _wants_grid(translated, job) and _grid_megapixels(job) <= LARGEST_GRID


def _wants_grid(translated: Translated, job: Job) -> bool:
    return translated.wants_grid and job.settings.return_grid and len(_pictures(job)) > 1


def _pictures(job: Job) -> list[Picture]:
    return [picture for picture in job.pictures if picture.kind == "picture"]


def _file(picture: Picture) -> bytes:
    """The bytes of the picture's file. Raises JobFailed where it is none of ours any more."""
    try:
        media_type(picture.path)
        return picture.path.read_bytes()
    except NotFound as error:
        raise JobFailed(str(error)) from error
    except OSError as error:
        raise JobFailed(f"The picture {picture.path.name} was made and cannot be read: {error.strerror}.") from error


def _grid_shape(job: Job) -> tuple[int, int]:
    """Columns and rows, as the options have them."""
    rows = {-1: None, 0: job.request.batch_size}.get(job.settings.n_rows, job.settings.n_rows)
    return grid_shape(len(_pictures(job)), rows)


def _grid_megapixels(job: Job) -> float:
    columns, rows = _grid_shape(job)
    first = _pictures(job)[0]
    return columns * first.width * rows * first.height / 1_000_000


def _grid(job: Job, files: Sequence[bytes]) -> bytes:
    """The file of all pictures side by side, with the text of the first."""
    chosen = [file for picture, file in zip(job.pictures, files, strict=True) if picture.kind == "picture"]
    together = side_by_side(map(whole_picture, chosen), *_grid_shape(job))
    settings, text = job.settings, _pictures(job)[0].infotext
    return encode(together, text, format=settings.samples_format, quality=settings.jpeg_quality)[0]


def _notices(translated: Translated, job: Job) -> list[str]:
    """What the person should know: of the payload, of the job, and of its grid."""
    notices = [*translated.notices, *job.notices]
    if _wants_grid(translated, job) and not has_grid(translated, job):
        notices.append(
            f"The grid is left out: it would have {_grid_megapixels(job):.0f} megapixels, and {LARGEST_GRID} are the "
            "most. Ask for fewer pictures at a time."
        )
    return notices


def generation_info(translated: Translated, job: Job) -> dict[str, Any]:
    """The `info` object: A1111's fields, and ours: `ignored`, `notices`, `job_id`.

    A grid has the first of the `infotexts`, and none of the seeds and prompts.
    """
    request, pictures = translated.request, _pictures(job)
    texts = [parse_infotext(picture.infotext) for picture in pictures]
    first = texts[0] if texts else Infotext(request.prompt, request.negative_prompt)
    width, height = _size(first.fields.get("Size", "")) or (request.width, request.height)
    infotexts = [picture.infotext for picture in pictures]
    is_grid_first = has_grid(translated, job)
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
        "index_of_first_image": int(is_grid_first),
        "infotexts": [*infotexts[:1], *infotexts] if is_grid_first else infotexts,
        "styles": list(request.styles),
        "job_timestamp": timestamp(job.started or job.created),
        "clip_skip": job.settings.CLIP_stop_at_last_layers,
        "is_using_inpainting_conditioning": "Conditional mask weight" in first.fields,
        "version": first.fields.get("Version", ""),
        "job_id": job.id,
        "notices": _notices(translated, job),
        "ignored": list(translated.ignored),
    }


def timestamp(seconds: float) -> str:
    """A1111's job timestamp, local time without separators."""
    return datetime.fromtimestamp(seconds).strftime("%Y%m%d%H%M%S")


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
