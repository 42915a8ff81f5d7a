"""The reference checkpoint in the folder of a test, without a copy of its 15 MB for each."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

CHECKPOINT = Path(__file__).parent / "data" / "golden" / "model" / "tiny_sd1.safetensors"


def lay_checkpoint(folder: Path, factory: pytest.TempPathFactory) -> Path:
    """Its path below the folder; a test may move it and delete it, but not write into it: all share one file."""
    shared = factory.getbasetemp() / CHECKPOINT.name
    if not shared.exists():
        shutil.copy(CHECKPOINT, shared)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / CHECKPOINT.name
    os.link(shared, path)
    return path
