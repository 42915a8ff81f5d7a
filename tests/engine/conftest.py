"""Engines on the tiny reference checkpoint, in this process or in one of their own."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from modules.catalogue import Folders
from modules.engine import checkpoints
from modules.engine.config import EngineConfig, worker_command
from modules.engine.pipes import Pipes
from modules.engine.saved import SavedPictures
from modules.jobs import EventBus, Jobs, JobStore, Supervisor, WorkerProcess
from modules.jobs.messages import Message
from modules.models import load

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "data" / "golden"


class Ear(Pipes):
    """Pipes that lead nowhere and remember what was said; `on_send` hears it as it is said."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), io.BytesIO())
        self.said: list[Message] = []
        self.on_send: Callable[[Message], None] = lambda message: None

    def send(self, message: Message) -> None:
        self.said.append(message)
        self.on_send(message)

    def heard(self, kind: type[Message]) -> list[Any]:
        return [message for message in self.said if isinstance(message, kind)]


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return reference_folders(tmp_path)


def reference_folders(data: Path) -> Folders:
    """The reference files; what is made goes below `data`."""
    return Folders.from_args(
        shipped=data,
        ckpt_dir=GOLDEN / "model",
        lora_dir=GOLDEN / "lora",
        hypernetwork_dir=GOLDEN / "hypernetworks",
        embeddings_dir=GOLDEN / "embeddings",
    )


load_once = functools.cache(load)


@pytest.fixture
def loads_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines are given a checkpoint that another test has loaded already: a job leaves its weights as they were."""
    monkeypatch.setattr(checkpoints, "load", load_once)


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture
def supervisor(folders: Folders) -> Supervisor:
    store = JobStore(folders.database)
    bus = EventBus(store.events_after, store.last_event_id())
    store.announce = bus.publish
    command = worker_command(EngineConfig(folders=folders, device="cpu"))
    return Supervisor(store, bus, [partial(WorkerProcess, command, cwd=ROOT)], files=SavedPictures(folders))


@pytest.fixture
def jobs(supervisor: Supervisor) -> Iterator[Jobs]:
    """A started queue with a real worker process behind it."""
    queue = Jobs(supervisor.store, supervisor.bus, supervisor)
    queue.start()
    yield queue
    queue.close()
