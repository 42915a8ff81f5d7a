"""Sidecars: what a person wrote beside a file (D061), and a checkpoint's training configuration (D014)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from .texts import sendable

MAX_SIDECAR_BYTES = 1_000_000

PREDICTION = "tagbrush.prediction"
"""What a configuration says that a checkpoint predicts."""

# One line is all that cards need of the file; YAML's own reader could be led to build gigabytes from a page.
_PARAMETERIZATION = re.compile(r"""^\s{0,40}parameterization:\s{0,10}["']?(v|eps)\b""", re.MULTILINE)


def read_sidecar(path: Path) -> dict[str, Any]:
    """The entries of `name.json`, `name.txt` as a description, or the prediction type in `name.yaml`; else empty.

    A sidecar never stops anything: one that is damaged or of another tool's making reads as empty.
    """
    try:
        text = _text(path)
    except OSError:
        return {}
    if path.suffix.lower() == ".txt":
        return {"description": text.strip()} if text.strip() else {}
    if path.suffix.lower() == ".yaml":
        found = _PARAMETERIZATION.search(text)
        return {PREDICTION: "v" if found[1] == "v" else "epsilon"} if found else {}
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
