"""What the server tells a worker at its start, on its command line."""

from __future__ import annotations

import sys
from typing import Literal

from pydantic import BaseModel, ConfigDict

from modules.catalogue import Folders

Sparing = Literal["never", "sdxl", "always"]


class EngineConfig(BaseModel):
    """Where the files are and what to compute on; `device` is auto, cpu, cuda, mps or xpu, or one by number: cuda:1.

    With `asks_for_files`, the folders may hold mere places of files, whose contents are brought when they are needed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    folders: Folders
    device: str = "auto"
    full_precision: bool = False
    """Whether UNet and text encoders are float32 on every device, and not on a CPU alone."""
    full_precision_vae: bool = False
    checks_numbers: bool = True
    """Whether latents and pictures that are no numbers end a job; else they become black pictures."""
    computes_hashes: bool = True
    """Whether files are hashed; else only hashes that are known already are told."""
    sparing: Sparing = "never"
    """Which models make do with little memory of the device, and take longer."""
    preloads: bool = True
    """Whether a checkpoint is loaded before a job asks for it."""
    offline: bool = True
    """Whether nothing outside this machine may be connected to."""
    asks_for_files: bool = False


def worker_command(config: EngineConfig) -> list[str]:
    """The command that starts a worker; to be run in the folder that holds `modules`."""
    return [sys.executable, "-m", "modules.engine", "--config", config.model_dump_json()]
