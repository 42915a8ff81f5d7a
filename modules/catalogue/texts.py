"""Texts from files made by others, fit to be sent on."""

from __future__ import annotations

from typing import Any


def sendable(value: Any) -> Any:
    """The value with every text in it (deep in lists and dicts, keys too) such that UTF-8 can hold it.

    JSON and pickles can spell half of a surrogate pair, which no encoder takes.
    """
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [sendable(item) for item in value]
    if isinstance(value, dict):
        return {sendable(key): sendable(item) for key, item in value.items()}
    return value
