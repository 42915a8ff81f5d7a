"""An A1111 user's own files of options, read where they are and never written: config.json and ui-config.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .declare import parameters
from .errors import TagbrushError
from .requests import make_request
from .settings import Settings

LARGEST = 16 * 2**20  # bytes


@dataclass(frozen=True)
class ImportedOptions:
    """The settings that a config.json makes the defaults, and what of it could not be used."""

    settings: Settings
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImportedDefaults:
    """What the controls of a task begin with, by field, as a ui-config.json says."""

    txt2img: Mapping[str, Any]
    img2img: Mapping[str, Any]
    notices: tuple[str, ...] = ()


def read_config(path: Path) -> ImportedOptions:
    """The options of A1111's config.json that exist here; its own defaults where there is no such file (D063).

    Options of other programs and extensions are passed over and stay in the file, which is left alone even where it is
    damaged; then that is told.
    """
    found, notices = _document(path)
    settings = Settings()
    for name, value in _today(found).items():
        if name not in Settings.model_fields:
            continue
        try:
            settings = settings.overridden({name: value})
        except TagbrushError as error:
            notices.append(f"{path.name}: {error} Its usual value is used.")
    return ImportedOptions(settings, tuple(notices))


def read_ui_config(path: Path) -> ImportedDefaults:
    """What A1111's ui-config.json has the controls begin with: its entries `tab/label/value` (D064).

    Ranges, steps and visibility are of A1111's controls, not of these, and are passed over; so are values that a
    control cannot have.
    """
    found, notices = _document(path)
    return ImportedDefaults(_defaults("txt2img", found), _defaults("img2img", found), tuple(notices))


def _document(path: Path) -> tuple[Mapping[str, Any], list[str]]:
    """The JSON object in a file, empty where there is none; and what is wrong with it."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except FileNotFoundError:
        return {}, []
    except OSError as error:
        return {}, [f"{path} cannot be read ({error.strerror or error}): the usual options are used."]
    try:
        found = json.loads(data) if len(data) <= LARGEST else None
    except (ValueError, RecursionError) as error:
        return {}, [f"{path} is damaged ({error}): the usual options are used. Mend it, or delete it."]
    if not isinstance(found, dict):
        return {}, [f"{path} holds no options: the usual ones are used. Mend it, or delete it."]
    return found, []


def _today(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as A1111 1.10 spells them, from whatever version wrote the file."""
    today = dict(options)
    as_default = today.get("sd_vae_as_default")
    if isinstance(as_default, bool):
        today.setdefault("sd_vae_overrides_per_model_preferences", not as_default)
    if today.get("enable_emphasis") is False:
        today.setdefault("emphasis", "None")
    if today.get("sd_vae") == "auto":
        today["sd_vae"] = "Automatic"
    if today.get("samples_format") == "jpeg":
        today["samples_format"] = "jpg"
    if today.get("randn_source") == "GPU":
        today["randn_source"] = "NV"  # the same numbers, on any machine
    return {name: value for name, value in today.items() if value is not None}


def _defaults(task: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a task whose controls the file gives a value."""
    request = type(make_request({"task": task}))
    defaults: dict[str, Any] = {}
    for name, declared in parameters(request).items():
        value = found.get(f"{task}/{declared.label}/value")
        if declared.names and value in declared.names:
            value = declared.names.index(value)
        if value is None or name in ("prompt", "negative_prompt", "seed"):
            continue
        try:
            defaults[name] = getattr(make_request({"task": task, name: value}), name)
        except TagbrushError:
            continue
    return defaults
