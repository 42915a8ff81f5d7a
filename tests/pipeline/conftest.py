"""A worker's surroundings made of the reference files, and a reporter that keeps what it is told."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from PIL import Image

from modules.catalogue import Catalogue, Entry, Folders
from modules.conditioning import ConditioningCache
from modules.engine.checkpoints import Checkpoints
from modules.models import Model
from modules.networks import NetworkCache
from modules.params import Settings, make_request
from modules.pipeline import FinishedPicture, Plan, bench, generate, plan
from modules.prompt import Tokenizer
from tests.golden_models import CHECKPOINT, GOLDEN, NAMES, write_golden_models

MODEL = CHECKPOINT


def _blank_mask() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (128, 128)).save(buffer, "PNG")
    return buffer.getvalue()


BLANK_MASK = _blank_mask()
"""What the reference data describes in words instead of giving it."""


def golden(name: str) -> Any:
    return json.loads((GOLDEN / name).read_text(encoding="utf-8"))


@dataclass
class Worker:
    """Resources as a worker has them; inputs are paths below the golden folder."""

    catalogue: Catalogue
    tokenizer: Tokenizer = field(default_factory=Tokenizer)
    networks: NetworkCache = field(default_factory=NetworkCache)
    conditionings: ConditioningCache = field(default_factory=ConditioningCache)
    checkpoints: Checkpoints = field(default_factory=lambda: Checkpoints(torch.device("cpu"), limit=len(NAMES)))

    def acquire(self, checkpoint: Entry, vae: Entry | None) -> Model:
        return self.checkpoints.acquire(checkpoint, vae)

    def read_input(self, input_id: str) -> bytes:
        return BLANK_MASK if input_id.startswith("(blank mask") else (GOLDEN / input_id).read_bytes()

    def shorthash(self, entry: Entry) -> Future[str]:
        return self.catalogue.shorthash(entry)


@dataclass
class Person:
    """Watches a job, and asks it to stop or skip at the steps given: (batch, step) pairs."""

    interrupt_at: tuple[int, int] | None = None
    skip_at: tuple[int, int] | None = None
    interrupted: bool = False
    skipped: bool = False
    pictures: list[FinishedPicture] = field(default_factory=list)
    previews: list[Image.Image] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    steps: list[tuple[int, ...]] = field(default_factory=list)

    def progress(self, batch: int, batches: int, step: int, steps: int, images_done: int, images: int) -> None:
        self.steps.append((batch, batches, step, steps, images_done, images))
        self.interrupted = self.interrupted or (batch, step) == self.interrupt_at
        self.skipped = self.skipped or (batch, step) == self.skip_at

    def preview(self, draw: Callable[[], Image.Image]) -> None:
        self.previews.append(draw())

    def picture(self, picture: FinishedPicture) -> None:
        self.pictures.append(picture)

    def notice(self, text: str) -> None:
        self.notices.append(text)


@pytest.fixture(scope="session")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalogue]:
    """The reference's files, and the models derived from its one checkpoint."""
    folder = tmp_path_factory.mktemp("data")
    write_golden_models(folder / "models", folder / "vaes")
    folders = Folders(
        data_dir=folder,
        checkpoints=(folder / "models",),
        vaes=(folder / "vaes",),
        loras=(GOLDEN / "lora",),
        hypernetworks=(GOLDEN / "hypernetworks",),
        embeddings=(GOLDEN / "embeddings",),
    )
    with Catalogue(folders, folder / "index.db") as catalogue:
        yield catalogue


@pytest.fixture(scope="session")
def worker(catalogue: Catalogue) -> Worker:
    return Worker(catalogue)


@pytest.fixture(scope="session")
def model(worker: Worker) -> Model:
    """The checkpoint that is used where none is named."""
    checkpoint = worker.catalogue.find_checkpoint(MODEL.stem)
    assert checkpoint is not None
    return worker.acquire(checkpoint, None)


@pytest.fixture
def weights_stay(model: Model) -> Iterator[None]:
    """Fails the test if a weight of the model is not bit for bit what it was before."""
    before = {name: tensor.clone() for name, tensor in _weights(model).items()}
    places = {name: tensor.data_ptr() for name, tensor in _weights(model).items()}
    yield
    after = _weights(model)
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert {name: tensor.data_ptr() for name, tensor in after.items()} == places
    assert not model.attention.changes


def _weights(model: Model) -> dict[str, torch.Tensor]:
    parts = {"unet": model.unet, "vae": model.vae, "text_encoder": model.text_encoder}
    return {f"{part}.{name}": tensor for part, module in parts.items() for name, tensor in module.state_dict().items()}


@pytest.fixture
def make_plan(worker: Worker) -> Callable[..., Plan]:
    """Plans from request fields, with `settings` and `skip_indices`."""

    def planned(settings: dict[str, Any] | None = None, skip_indices: tuple[int, ...] = (), **fields: Any) -> Plan:
        small = {"prompt": "a cat", "seed": 1, "steps": 2, "width": 64, "height": 64, "sampler_name": "Euler"}
        request = make_request(small | fields)
        chosen = Settings(randn_source="CPU", sd_model_checkpoint=MODEL.stem).overridden(settings or {})
        return plan(request, chosen, worker.catalogue, worker.tokenizer, skip_indices=skip_indices)

    return planned


@pytest.fixture
def draw(worker: Worker, make_plan: Callable[..., Plan]) -> Callable[..., Person]:
    """Plans and generates; returns who watched."""

    def drawn(person: Person | None = None, **fields: Any) -> Person:
        person = person or Person()
        generate(make_plan(**fields), worker, person, person)
        return person

    return drawn


@pytest.fixture
def latents(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """The latents of each picture as they go to the VAE, (1, 4, h, w)."""
    seen: list[torch.Tensor] = []
    decode = bench.decode

    def watched(model: Model, given: torch.Tensor, *, clamp: bool = True) -> torch.Tensor:
        seen.append(given.clone())
        return decode(model, given, clamp=clamp)

    monkeypatch.setattr(bench, "decode", watched)
    return seen
