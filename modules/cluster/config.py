"""What the server tells a relay at its start, on its command line."""

from __future__ import annotations

import sys

from pydantic import BaseModel, ConfigDict

from modules.engine.config import EngineConfig

from .slots import Slot


class RelayConfig(BaseModel):
    """The cluster, what the worker needs of it, and the worker's own configuration with the server's folders."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str
    slot: Slot
    engine: EngineConfig


def relay_command(config: RelayConfig) -> list[str]:
    """The command that starts a relay; to be run in the folder that holds `modules`."""
    return [sys.executable, "-m", "modules.cluster", "relay", "--config", config.model_dump_json()]


def inventory_command(address: str) -> list[str]:
    """The command that writes what the cluster's nodes offer; to be run in the folder that holds `modules`."""
    return [sys.executable, "-m", "modules.cluster", "inventory", "--address", address]
