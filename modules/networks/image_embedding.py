"""Embeddings that travel as pictures, with their tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from modules.catalogue import read_picture_embedding
from modules.catalogue.picture_embeddings import TENSOR_KEY
from modules.params import BadFile


def read_image(path: Path) -> tuple[str, Any]:
    """(name, content) of the embedding in a picture, the content as a `.pt` embedding's. Raises BadFile."""
    content = read_picture_embedding(path)
    try:
        return str(content.get("name") or ""), {name: _with_tensors(path, value) for name, value in content.items()}
    except RecursionError as error:
        raise BadFile(path, "holds an embedding that is damaged. Download it again.") from error


def _with_tensors(path: Path, value: Any) -> Any:
    """The value with its `{"TORCHTENSOR": [[...]]}` turned into tensors."""
    if not isinstance(value, dict):
        return value
    if TENSOR_KEY not in value:
        return {name: _with_tensors(path, inner) for name, inner in value.items()}
    try:
        return torch.tensor(value[TENSOR_KEY], dtype=torch.float32)
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:
        raise BadFile(path, "holds an embedding that is damaged. Download it again.") from error
