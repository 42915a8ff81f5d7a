"""Memory that runs out anywhere: the job fails with figures, or goes on in strips; the next picture is as before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count, cycle
from typing import Any

import pytest
import torch
from PIL import Image

from modules.catalogue import Folders
from modules.engine import checkpoints
from modules.engine.config import EngineConfig
from modules.engine.engine import Engine
from modules.jobs.messages import Done, Failed, PictureSaved, Run
from modules.models import Model, merges, strips
from modules.pipeline import bench

from .conftest import Ear, load_once, reference_folders
from .test_engine import NETWORKS, digest, model_of

PROMPT = f"a cat {NETWORKS}"
NEGATIVE = "fog <lora:lin:0.5>"
FIELDS = {"enable_hr": True, "hr_scale": 2, "denoising_strength": 0.5, "batch_size": 2}
ERRORS = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.50 GiB. GPU 0 has a total capacity of 23.64 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried to "
                 "allocate 22011707392 bytes. Error code 12 (Cannot allocate memory)"),
)  # fmt: skip
Inject = Callable[[pytest.MonkeyPatch, Model, Exception], None]


@pytest.fixture
def engine(folders: Folders, ear: Ear, loads_once: None) -> Iterator[Engine]:
    engine = Engine(EngineConfig(folders=folders, device="cpu"), ear)
    yield engine
    engine.close()


def job(job_id: str, **fields: Any) -> Run:
    request = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "seed": 5, "steps": 2, "width": 64, "height": 64}
    return Run(job_id=job_id, request={**request, **FIELDS, **fields}, settings={}, made=())


def pictures(ear: Ear, job_id: str) -> list[bytes]:
    saved = [message for message in ear.heard(PictureSaved) if message.job_id == job_id]
    return [Image.open(message.path).tobytes() for message in saved]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The pictures of a job for which there is memory enough."""
    ear = Ear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "load", load_once)
        engine = Engine(EngineConfig(folders=reference_folders(tmp_path_factory.mktemp("data")), device="cpu"), ear)
        engine.obey(job("undisturbed"))
        engine.close()
    drawn = pictures(ear, "undisturbed")
    assert len(drawn) == 2
    return drawn


def failing(function: Callable[..., Any], error: Exception, at: int) -> Callable[..., Any]:
    """The function, that raises at its call number `at`, counted from 0."""
    calls = count()

    def maybe(*given: Any, **options: Any) -> Any:
        if next(calls) == at:
            raise error
        return function(*given, **options)

    return maybe


def in_forward(part: str, at: int) -> Inject:
    def inject(patch: pytest.MonkeyPatch, model: Model, error: Exception) -> None:
        module = getattr(model, part)
        module = module if part == "unet" else module.final_layer_norm
        patch.setattr(module, "forward", failing(module.forward, error, at))

    return inject


def in_function(owner: object, name: str, at: int) -> Inject:
    def inject(patch: pytest.MonkeyPatch, model: Model, error: Exception) -> None:
        patch.setattr(owner, name, failing(getattr(owner, name), error, at))

    return inject


def while_decoding(patch: pytest.MonkeyPatch, model: Model, error: Exception) -> None:
    """For the whole picture, and for the strips after it."""
    patch.setattr(model.vae, "decode", failing(model.vae.decode, error, 0))
    patch.setattr(strips, "_residual", failing(strips._residual, error, 2))


STAGES: dict[str, Inject] = {
    "merging the networks": in_function(merges, "merge", 3),
    "reading the prompt": in_forward("text_encoder", 0),
    "the first step": in_forward("unet", 0),
    "the unconditional half of a step": in_forward("unet", 1),
    "the second pass": in_forward("unet", 5),
    "decoding": while_decoding,
    "the picture itself": in_function(bench, "decode", 1),
}


@pytest.mark.parametrize(("stage", "error"), [*zip(STAGES, cycle(ERRORS), strict=False)])
def test_wherever_memory_runs_out_the_job_fails_with_figures_and_the_next_picture_is_bit_for_bit_the_same(
    engine: Engine,
    ear: Ear,
    undisturbed: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    error: Exception,
) -> None:
    # R005, R006
    model = model_of(engine)
    weights = digest(model)
    with monkeypatch.context() as patch:
        STAGES[stage](patch, model, error)
        engine.obey(job("short"))
    (failed,) = ear.heard(Failed)
    assert (failed.job_id, failed.kind) == ("short", "memory")
    assert "20.5 GiB more were needed" in failed.error
    assert "GiB are free" in failed.error
    engine.obey(job("after"))
    assert digest(model_of(engine)) == weights
    assert pictures(ear, "after") == undisturbed
    assert [done.job_id for done in ear.heard(Done)] == ["after"]


def test_what_is_kept_for_later_makes_room(engine: Engine, ear: Ear, monkeypatch: pytest.MonkeyPatch) -> None:
    # R005
    engine.obey(job("before"))
    model = model_of(engine)
    assert engine.networks.nbytes > 0
    assert engine.conditionings.nbytes(model) > 0
    with monkeypatch.context() as patch:
        in_forward("unet", 0)(patch, model, ERRORS[0])
        engine.obey(job("short"))
    assert engine.networks.nbytes == engine.conditionings.nbytes(model) == 0
    assert model_of(engine) is model


def test_a_checkpoint_that_does_not_fit_fails_its_job_and_is_loaded_for_the_next(
    engine: Engine, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    # R005, R006
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "load", failing(checkpoints.load, ERRORS[0], 0))
        engine.obey(job("short"))
    assert [failed.kind for failed in ear.heard(Failed)] == ["memory"]
    engine.obey(job("after"))
    assert len(pictures(ear, "after")) == 2


def test_a_picture_too_large_for_the_decoder_is_decoded_in_strips_and_nearly_the_same(
    engine: Engine, ear: Ear, undisturbed: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    # R005
    model = model_of(engine)
    with monkeypatch.context() as patch:
        patch.setattr(model.vae, "decode", failing(model.vae.decode, ERRORS[0], 0))
        engine.obey(job("strips"))
    assert not ear.heard(Failed)
    for one, other in zip(undisturbed, pictures(ear, "strips"), strict=True):
        apart = torch.frombuffer(bytearray(one), dtype=torch.uint8).int() - torch.frombuffer(
            bytearray(other), dtype=torch.uint8
        )
        assert apart.abs().max() <= 1
