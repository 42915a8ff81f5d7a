"""The server learns of a cluster without loading Ray, and says what is missing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from modules.catalogue import Folders
from modules.cluster import NoCluster, ray_spawns
from modules.cluster import spawns as module
from modules.cluster.config import RelayConfig
from modules.cluster.slots import Slot
from modules.cluster.versions import versions
from modules.engine.config import EngineConfig

ROOT = Path(__file__).parents[2]


@pytest.fixture
def engine(tmp_path: Path) -> EngineConfig:
    return EngineConfig(folders=Folders.from_args(shipped=tmp_path))


def answering(monkeypatch: pytest.MonkeyPatch, stdout: str = "", stderr: str = "", code: int = 0) -> None:
    """Ray is installed, and the inventory says this."""
    monkeypatch.setattr(module, "find_spec", lambda name: object())
    done = subprocess.CompletedProcess([], code, stdout, stderr)
    monkeypatch.setattr(module.subprocess, "run", lambda *arguments, **options: done)


def test_without_ray_it_says_how_to_install_it(engine: EngineConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(NoCluster, match=r'python.* -m pip install "ray==\d+\.\d+'):
        ray_spawns("auto", engine)


def test_each_slot_starts_a_relay_that_knows_what_to_ask_for(
    engine: EngineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, json.dumps([{"name": "a", "cpus": 8, "gpus": 2}, {"name": "b", "cpus": 8, "gpus": 0}]))
    started: list[list[str]] = []

    def process(command: list[str], receive: Any, **options: Any) -> Any:
        started.append(command)

    monkeypatch.setattr(module, "WorkerProcess", process)
    for spawn in ray_spawns("10.0.0.1:6379", engine):
        spawn(lambda worker, what: None)
    configs = [RelayConfig.model_validate_json(command[-1]) for command in started]
    assert [config.slot for config in configs] == [Slot(gpus=1, threads=4)] * 2
    assert {config.address for config in configs} == {"10.0.0.1:6379"}
    assert {config.engine for config in configs} == {engine.model_copy(update={"device": "auto"})}


def test_why_there_is_no_cluster_is_passed_on(engine: EngineConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, stderr="noise\nNo Ray cluster can be joined.\n", code=1)
    with pytest.raises(NoCluster, match="No Ray cluster can be joined"):
        ray_spawns("auto", engine)


def test_a_cluster_that_does_not_answer_is_told(engine: EngineConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*arguments: Any, **options: Any) -> Any:
        raise subprocess.TimeoutExpired("x", 1)

    monkeypatch.setattr(module, "find_spec", lambda name: object())
    monkeypatch.setattr(module.subprocess, "run", run)
    with pytest.raises(NoCluster, match="did not answer"):
        ray_spawns("10.0.0.1:6379", engine)


def test_the_server_loads_neither_ray_nor_torch_for_it() -> None:
    code = "import sys, modules.cluster\nsys.exit(bool({'ray', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_a_machine_does_not_differ_from_itself() -> None:
    assert not versions().differences(versions())
