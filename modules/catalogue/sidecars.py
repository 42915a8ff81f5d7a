"""Sidecars: what a person, or the site a file came from, wrote beside it (D061)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .texts import sendable

MAX_SIDECAR_BYTES = 1_000_000


def read_sidecar(path: Path) -> dict[str, Any]:
    """The entries of `name.json`, or `name.txt` as a description; empty if it is neither.

    A sidecar never stops anything: one that is damaged or of another tool's making reads as empty.
    """
    try:
        text = _text(path)
    except OSError:
        return {}
    if path.suffix.lower() == ".txt":
        return {"description": text.strip()} if text.strip() else {}
    try:
        value = sendable(json.loads(text))
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def merged(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """The sidecars of one file as one: the first that has a key, with a value in it, wins."""
    entries: dict[str, Any] = {}
    for part in parts:
        entries |= {key: value for key, value in part.items() if entries.get(key) in (None, "")}
    return entries


def _text(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(MAX_SIDECAR_BYTES).decode("utf-8-sig", errors="replace")
