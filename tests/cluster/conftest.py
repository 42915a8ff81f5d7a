"""The server's files, and nodes that share no disk with it, in this process."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from modules.catalogue import Catalogue, Folders
from modules.cluster.actor import NodeWorker
from modules.cluster.manifest import Changes, Item
from modules.cluster.places import moved, place_of
from modules.cluster.slots import Slot
from modules.cluster.versions import Versions
from modules.cluster.words import Word
from modules.engine.config import EngineConfig
from tests.checkpoint import lay_checkpoint

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "data" / "golden"


@pytest.fixture
def folders(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """The server's: the reference model, networks beside it, and what people write next to files."""
    data = tmp_path / "server"
    models = data / "models" / "Stable-diffusion"
    shutil.copytree(GOLDEN / "model", models, ignore=shutil.ignore_patterns("*.safetensors"))
    lay_checkpoint(models, tmp_path_factory)
    shutil.copytree(GOLDEN / "lora", data / "models" / "Lora" / "some")
    shutil.copytree(GOLDEN / "hypernetworks", data / "models" / "hypernetworks")
    shutil.copytree(GOLDEN / "embeddings", data / "embeddings")
    lora = next((data / "models" / "Lora" / "some").glob("*.safetensors"))
    lora.with_suffix(".json").write_text('{"description": "reddish", "preferred weight": 0.7}')
    (data / "styles.csv").write_text("name,prompt,negative_prompt\nwarm,warm light,cold\n")
    return Folders.from_args(shipped=data)


@pytest.fixture
def catalogue(folders: Folders) -> Iterator[Catalogue]:
    with Catalogue(folders, folders.index) as catalogue:
        yield catalogue


class NearNode:
    """A node in this process: what Ray does for a relay, without Ray. It counts what is sent.

    Unless it `shares_disk`, it finds nothing where the server has its files.
    """

    def __init__(
        self,
        folders: Folders,
        cache: Path,
        about: Versions | None = None,
        *,
        shares_disk: bool = False,
        slot: Slot | None = None,
    ) -> None:
        there = EngineConfig(folders=moved(folders, lambda path: Path(place_of(path))), device="cpu")
        self.worker = NodeWorker(there.model_dump_json(), slot or Slot(cpus=1), cache)
        self.name, self.sent, self._about, self._shares_disk = "far", 0, about, shares_disk

    def found(self, timeout: float) -> Versions | None:
        return self._about or self.worker.about()

    def begin(self, files: Changes) -> None:
        self.worker.begin(files)

    def hear(self, frame: bytes) -> None:
        self.worker.hear(frame)

    def renew(self, files: Changes) -> None:
        self.worker.renew(files)

    def tell(self, patience: float) -> list[Word]:
        return self.worker.tell(patience)

    def answer(self, number: int, error: str) -> None:
        self.worker.answer(number, error)

    def offer(self, item: Item, digest: str) -> bool:
        return self.worker.offer(item if self._shares_disk else replace(item, path="/nowhere"), digest)

    def add(self, data: bytes) -> Callable[[], None]:
        self.sent += len(data)
        self.worker.add(data)
        return lambda: None

    def finish(self, item: Item) -> None:
        self.worker.finish(item)

    def end(self) -> None:
        self.worker.end(5)
