"""Checks that need to know which files there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modules.catalogue import Catalogue
from modules.params import UnknownName


def check_checkpoint(catalogue: Catalogue, settings: Mapping[str, Any]) -> None:
    """Raise UnknownName if `settings` choose a checkpoint or VAE that is not there."""
    name = settings.get("sd_model_checkpoint")
    if name and catalogue.find_checkpoint(str(name)) is None:
        raise UnknownName("Checkpoint", str(name), (entry.title for entry in catalogue.entries("checkpoint")))
