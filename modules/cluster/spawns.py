"""What starts the workers of a cluster, for the supervisor; runs in the server, so neither torch nor Ray is loaded."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from functools import partial
from importlib.util import find_spec

from modules.engine.config import EngineConfig
from modules.jobs.process import WorkerProcess
from modules.jobs.worker import Receive, Spawn, Worker

from .config import RelayConfig, inventory_command, relay_command
from .slots import NoCluster, NodeOffer, Slot, plan_slots
from .versions import code_root

SECONDS_TO_ANSWER = 90.0


def ray_spawns(address: str, engine: EngineConfig, *, workers: int | None = None) -> tuple[Spawn, ...]:
    """One start of a worker for each GPU of the cluster at `address` ("auto": this machine's), or as `workers` says.

    Without GPUs there is one for each node. Raises NoCluster where there is none, or Ray is not installed.
    """
    if find_spec("ray") is None:
        raise NoCluster(how_to_install())
    slots = plan_slots(ask(address), workers=workers, device=engine.device)
    return tuple(partial(_start, address, engine, slot) for slot in slots)


def how_to_install() -> str:
    """What to do where Ray is not installed."""
    project = tomllib.loads((code_root() / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = " ".join(f'"{need}"' for need in project["optional-dependencies"]["ray"])
    return f"--ray needs Ray, which is not installed. Install it with: {sys.executable} -m pip install {wanted}"


def ask(address: str) -> tuple[NodeOffer, ...]:
    """What the cluster's nodes offer, found out by a process of its own. Raises NoCluster."""
    command = inventory_command(address)
    try:
        asked = subprocess.run(
            command, cwd=code_root(), capture_output=True, text=True, timeout=SECONDS_TO_ANSWER, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise NoCluster(
            f'The Ray cluster at "{address}" did not answer within {SECONDS_TO_ANSWER:.0f} seconds. Check the address, '
            "and that `ray status` on this machine shows the cluster."
        ) from error
    if asked.returncode != 0:
        said = [line for line in asked.stderr.splitlines() if line.strip()]
        raise NoCluster(said[-1] if said else f'The Ray cluster at "{address}" cannot be used.')
    return tuple(NodeOffer(**offer) for offer in json.loads(asked.stdout))


def _start(address: str, engine: EngineConfig, slot: Slot, receive: Receive) -> Worker:
    config = RelayConfig(address=address, slot=slot, engine=_engine_of(engine, slot))
    return WorkerProcess(relay_command(config), receive, cwd=code_root())


def _engine_of(engine: EngineConfig, slot: Slot) -> EngineConfig:
    """What the worker computes on: whatever GPU Ray shows it, or the processors."""
    return engine.model_copy(update={"device": "auto" if slot.gpus else "cpu"})
