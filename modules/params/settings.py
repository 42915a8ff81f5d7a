"""Settings: what holds for every job until someone changes it, under A1111's option names.

A job carries the snapshot it was submitted with, so a change (or a job's own `override_settings`)
never reaches another job.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from pydantic import ValidationError

from .errors import BadRequest, UnknownName
from .setting_groups import (
    ApiSettings,
    GuidanceSettings,
    HiresSettings,
    Img2ImgSettings,
    LimitSettings,
    ModelSettings,
    PageSettings,
    PromptSettings,
    SamplingSettings,
    SavingSettings,
    SdxlSettings,
)
from .wrongs import in_words


class Settings(
    ApiSettings,
    LimitSettings,
    PageSettings,
    SavingSettings,
    SdxlSettings,
    HiresSettings,
    Img2ImgSettings,
    SamplingSettings,
    GuidanceSettings,
    PromptSettings,
    ModelSettings,
):
    """Every option of the program with its default."""

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

        Raises BadRequest too for an output folder outside the data folder; one that the owner set stays. And for what
        the API may do, which a client of it must not decide.
        """
        settings = self.overridden(changes)
        for name in ApiSettings.model_fields:
            if getattr(settings, name) != getattr(self, name):
                raise BadRequest(f"{name} is changed by the server's owner alone: in config.json, before the start.")
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
    """What is wrong, in words, value by value."""
    return in_words(error.errors(include_url=False), ("txt2img", "img2img"))
