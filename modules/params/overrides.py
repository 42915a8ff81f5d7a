"""Settings for one job, as texts that a person reads and removes: `Clip skip: 2` (U039)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .declare import parameters
from .errors import UnknownName
from .settings import Settings


def describe_overrides(settings: Mapping[str, Any]) -> list[str]:
    """One text for each setting, by the key that infotexts have for it, else by its label."""
    return [f"{_key(name)}: {value}" for name, value in settings.items()]


def read_overrides(texts: Iterable[str]) -> dict[str, str]:
    """The settings that `describe_overrides` made the texts of; values still as written. Raises UnknownName."""
    names = {_key(name): name for name in parameters(Settings)}
    found = {}
    for text in texts:
        key, _, value = text.partition(": ")
        if key not in names:
            raise UnknownName("Setting", key, names)
        found[names[key]] = value
    return found


def _key(name: str) -> str:
    declared = parameters(Settings)[name]
    return declared.infotext or declared.label
