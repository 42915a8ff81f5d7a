"""With little memory of the device: the same pictures, with less of the model there at a time (F001: --medvram)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from modules.catalogue import Folders
from modules.engine.checkpoints import Precision
from modules.engine.config import EngineConfig
from modules.engine.engine import Engine
from modules.jobs.messages import Failed, PictureSaved, Run
from modules.models import Model, fetch_encoders, load, rest_encoders, sparing

from .conftest import GOLDEN, Ear
from .test_engine import digest, model_of

PROMPTS = {"prompt": "a cat <lora:locon:0.8>", "negative_prompt": "fog <lora:lin:0.7> <hypernet:h_relu4:0.5>"}
CHECKPOINT = GOLDEN / "model" / "tiny_sd1.safetensors"


@pytest.fixture
def sparing_engine(folders: Folders, ear: Ear) -> Iterator[Engine]:
    engine = Engine(EngineConfig(folders=folders, device="cpu", sparing="always"), ear)
    yield engine
    engine.close()


def job(**fields: Any) -> Run:
    request = {**PROMPTS, "seed": 5, "steps": 3, "width": 64, "height": 64, "batch_size": 2, **fields}
    return Run(job_id="job", request=request, settings={}, made=())


def pictures(ear: Ear) -> list[np.ndarray]:
    assert not ear.heard(Failed)
    return [np.asarray(Image.open(message.path), np.int16) for message in ear.heard(PictureSaved)]


@pytest.mark.parametrize("fields", [{}, {"enable_hr": True, "hr_scale": 2, "hr_upscaler": "Lanczos"}])
def test_the_pictures_are_the_same(folders: Folders, fields: dict[str, Any]) -> None:
    drawn = []
    for way in ("never", "always"):
        ear = Ear()
        engine = Engine(EngineConfig(folders=folders, device="cpu", sparing=way), ear)
        engine.obey(job(**fields))
        drawn.append(pictures(ear))
        engine.close()
    assert len(drawn[0]) == 2
    for one, other in zip(*drawn, strict=True):
        assert np.abs(one - other).max() <= 1


def test_text_encoders_are_there_while_they_are_asked_and_wait_while_the_unet_is(
    sparing_engine: Engine, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(sparing_engine)
    weights = digest(model)
    told: list[str] = []

    def tell(what: str, module: nn.Module) -> None:
        module.register_forward_pre_hook(lambda *_: told.append(what) if told[-1:] != [what] else None)

    monkeypatch.setattr(
        sparing, "_move", lambda model, place: told.append("waits" if place is sparing.WAITING else "there")
    )
    tell("text", model.text_encoder.final_layer_norm)
    tell("unet", model.unet)
    sparing_engine.obey(job())
    assert told == ["there", "text", "waits", "unet"]
    told.clear()
    sparing_engine.obey(job(prompt="a fish", negative_prompt="", enable_hr=True, hr_prompt="a dog"))
    assert told == ["there", "text", "waits", "unet"] * 2
    assert digest(model) == weights


def test_both_passes_are_apart_and_pictures_are_decoded_in_strips(
    sparing_engine: Engine, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(sparing_engine)
    rows: list[int] = []
    model.unet.register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))
    monkeypatch.setattr(model.vae, "decode", lambda *_: pytest.fail("the whole picture was decoded at once"))
    sparing_engine.obey(job(prompt="a cat", negative_prompt="a dog", batch_size=1))
    assert len(pictures(ear)) == 1
    assert rows == [1] * 6


@pytest.mark.parametrize(
    ("way", "sparing_ones"), [("never", ()), ("sdxl", ("sdxl", "sdxl_refiner")), ("always", ("sd1", "sdxl", ""))]
)
def test_which_models_spare_memory_is_chosen(way: Any, sparing_ones: tuple[str, ...], tmp_path: Path) -> None:
    precision = Precision.of(EngineConfig(folders=Folders.from_args(shipped=tmp_path), sparing=way))
    assert [family for family in ("sd1", "sdxl", "sdxl_refiner", "") if precision.spares(family)] == [
        family for family in ("sd1", "sdxl", "sdxl_refiner", "") if family in sparing_ones or way == "always"
    ]


def placed(model: Model) -> set[str]:
    return {parameter.device.type for parameter in model.text_encoder.parameters()}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="moves weights off an NVIDIA card")
def test_an_encoder_leaves_the_card_and_comes_back_bit_for_bit() -> None:
    model = load(CHECKPOINT, device="cuda", spares_memory=True)
    parameters = dict(model.text_encoder.named_parameters())
    before = {name: parameter.detach().cpu().clone() for name, parameter in parameters.items()}
    rest_encoders(model)
    assert placed(model) == {"cpu"}
    fetch_encoders(model)
    assert placed(model) == {"cuda"}
    for name, parameter in model.text_encoder.named_parameters():
        assert parameter is parameters[name]
        assert torch.equal(parameter.cpu(), before[name])


def test_a_model_that_need_not_spare_is_left_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparing, "_move", lambda *_: pytest.fail("moved"))
    model = load(CHECKPOINT)
    fetch_encoders(model)
    rest_encoders(model)
