"""Settings: what holds for every job until someone changes it, under A1111's option names.

A job carries the snapshot it was submitted with, so a change (or a job's own `override_settings`)
never reaches another job.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from pydantic import ValidationError

from .declare import Group, param
from .errors import BadRequest, UnknownName


class Settings(Group):
    """Every option of the program with its default."""

    sd_model_checkpoint: str = param("", "Stable Diffusion checkpoint", choices="checkpoints")
    sd_vae: str = param("Automatic", "SD VAE", choices="vaes")
    CLIP_stop_at_last_layers: int = param(1, "Clip skip", infotext="Clip skip", ge=1, le=12, ui=(1, 12, 1))
    randn_source: str = param("NV", "Random number generator source", infotext="RNG", choices=("NV", "CPU", "GPU"))
    emphasis: str = param(
        "Original", "Emphasis mode", infotext="Emphasis", choices=("None", "Ignore", "Original", "No norm")
    )
    comma_padding_backtrack: int = param(20, "Prompt word wrap length limit", ge=0, le=74, ui=(0, 74, 1))
    eta_noise_seed_delta: int = param(0, "Eta noise seed delta", infotext="ENSD", ge=0, le=2**63 - 1)
    img2img_fix_steps: bool = param(False, "Do exactly the steps the slider says with img2img")
    img2img_background_color: str = param("#ffffff", "Background for transparent img2img inputs")
    save_incomplete_images: bool = param(False, "Save interrupted pictures")
    samples_format: str = param("png", "File format for pictures", choices=("png", "jpg", "webp"))
    jpeg_quality: int = param(80, "Quality for JPEG and WebP", ge=1, le=100, ui=(1, 100, 1))
    outdir_txt2img_samples: str = param("outputs/txt2img-images", "Folder for txt2img pictures")
    outdir_img2img_samples: str = param("outputs/img2img-images", "Folder for img2img pictures")
    extra_networks_default_multiplier: float = param(1.0, "Default weight of a card", ge=-10, le=10, ui=(0, 2, 0.01))
    live_previews_enable: bool = param(True, "Show live previews")
    show_progress_every_n_steps: int = param(
        1, "Live preview every N steps", ge=-1, le=1000, ui=(-1, 32, 1), help="-1 shows a picture only when it is done"
    )
    send_seed: bool = param(True, "Send seed when sending a picture to another tab")

    def overridden(self, changes: Mapping[str, Any]) -> Settings:
        """A copy with `changes`, validated.

        Raises UnknownName for an option that does not exist and BadRequest for a value out of its limits.
        """
        known = type(self).model_fields
        for name in changes:
            if name not in known:
                raise UnknownName("Option", name, known)
        try:
            settings = Settings.model_validate({**self.model_dump(), **changes})
        except ValidationError as error:
            raise BadRequest(explain(error)) from error
        settings.check_choices()
        return settings

    def requested(self, changes: Mapping[str, Any]) -> Settings:
        """As `overridden`, for changes that anyone who reaches the server may ask for.

        Raises BadRequest too for an output folder outside the data folder; one that the owner set stays.
        """
        settings = self.overridden(changes)
        for name in changes:
            if name.startswith("outdir_"):
                _check_inside(type(self).model_fields[name].title or name, getattr(settings, name))
        return settings

    def check_choices(self) -> None:
        """Raise UnknownName if an option with a fixed list holds something else."""
        for name, field in type(self).model_fields.items():
            extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
            choices = extra.get("choices")
            if isinstance(choices, tuple) and getattr(self, name) not in choices:
                raise UnknownName(f"{field.title}:", str(getattr(self, name)), choices)


def _check_inside(title: str, folder: str) -> None:
    """Raise BadRequest unless `folder` is below the data folder on any system: relative, and never upwards."""
    for path in (PurePosixPath(folder), PureWindowsPath(folder)):
        if path.anchor or ".." in path.parts:
            raise BadRequest(
                f'{title} is "{folder}", which leads out of the data folder. '
                'Give a path inside it, such as "outputs/pictures".'
            )


def explain(error: ValidationError) -> str:
    """One line per wrong value, in words: `Width is 0: Input should be greater than or equal to 64.`"""
    lines = []
    for problem in error.errors(include_url=False):
        name = ".".join(str(part) for part in problem["loc"] if part not in ("txt2img", "img2img")) or "request"
        shown = repr(problem["input"])
        got = shown if len(shown) <= 80 else shown[:77] + "..."
        lines.append(f"{name} is {got}: {problem['msg']}.")
    return " ".join(lines)
