"""A1111's options as its clients read them and send them back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, create_model

from modules.params import Settings

FIXED: Mapping[str, Any] = {
    "samples_save": True,
    "grid_save": False,
    "grid_only_if_multiple": True,
    "enable_pnginfo": True,
    "save_txt": False,
    "add_model_hash_to_info": True,
    "add_model_name_to_info": True,
    "add_version_to_infotext": True,
    "face_restoration": False,
    "upscaler_for_img2img": "None",
    "hide_samplers": [],
    "quicksettings_list": ["sd_model_checkpoint"],
}
"""Options of A1111 that have one value here, which is told to those who look for it."""

OWNERS = "api_"
"""How the names of options begin that only the server's owner may change: they say what this API may do."""


def can_be_changed(name: str) -> bool:
    """Whether there is an option of that name that clients may change."""
    return name in Settings.model_fields and not name.startswith(OWNERS)


def _options() -> type[Settings]:
    fixed: dict[str, Any] = {
        name: (type(value), Field(value, description="Always so in this version.")) for name, value in FIXED.items()
    }
    checkpoint_hash: Any = (str | None, Field(None, description="The sha256 of the checkpoint in use."))
    return create_model("Options", __base__=Settings, sd_checkpoint_hash=checkpoint_hash, **fixed)


Options = _options()
"""Every option under A1111's names: those that can be changed, and those that cannot."""


def options_shown(settings: Settings, checkpoint: str | None, sha256: str | None) -> dict[str, Any]:
    """All options as they are now, the checkpoint by its title."""
    shown = {**FIXED, **settings.model_dump(mode="json"), "sd_checkpoint_hash": sha256}
    return shown | ({"sd_model_checkpoint": checkpoint} if checkpoint else {})


def given_options(sent: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `sent` that say something: null does not, nor does an empty name of a checkpoint, which clients send
    from a field that nobody has filled in; as in A1111, the chosen one stays.
    """
    return {
        name: value
        for name, value in sent.items()
        if value is not None and not (name == "sd_model_checkpoint" and value == "")
    }


def read_changes(sent: Mapping[str, Any], shown: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What `sent` changes of the options shown, and the names in it of options that cannot be changed.

    Clients read all options and send them all back with one changed. One that is sent alone is meant, though it be as
    it is: a checkpoint that is in use as the first of the list is chosen by that.
    """
    given = given_options(sent)
    changed = {name: value for name, value in given.items() if shown.get(name) != value}
    meant = given if len(sent) == 1 else changed
    known = {name: value for name, value in meant.items() if can_be_changed(name)}
    return known, sorted(changed.keys() - known.keys())
