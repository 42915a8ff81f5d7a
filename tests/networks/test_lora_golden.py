"""Every kind of LoRA against what A1111 1.10.1 made of the same files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from modules.models import Model, WeightPatch, patched
from modules.networks import Lora, load_lora
from modules.networks.lora.names import LayerName, layer_name, layer_names

from .conftest import GOLDEN, cases, distance

TEXT = "transformer_text_model_"
CASES = {case.values[0]["key"]: case.values[0] for case in cases("lora.json")}
DELTAS = sorted(np.load(GOLDEN / "lora_deltas.npz").files)
FUNCTIONAL = ("lin", "locon", "full", "norm")
"""Of the files that the reference also applied without merging; there its DoRA is another one."""


def lora(name: str) -> Lora:
    return load_lora(GOLDEN / "lora" / f"{name.removesuffix('_alias')}.safetensors")


def patches(case: dict[str, Any], model: Model) -> list[WeightPatch]:
    dyns = case["dyn"] or [None] * len(case["names"])
    uses = zip(case["names"], case["te"], case["unet"], dyns, strict=True)
    return [patch for name, te, unet, dyn in uses for patch in lora(name).patches(model, te, unet, dyn).patches]


@pytest.mark.parametrize("key", DELTAS)
def test_a_merged_difference_is_the_references(key: str, model: Model, golden: Callable[..., torch.Tensor]) -> None:
    """D041"""
    case, module, parameter = key.split("/")
    name = LayerName("text_encoder", module.removeprefix(TEXT)) if module.startswith(TEXT) else layer_name(module)
    target = f"{layer_names(model)[name]}.{parameter}"
    network, _, path = target.partition(".")
    (patch,) = [patch for patch in patches(CASES[case], model) if patch.target == target]
    wanted = golden("lora_deltas", key)
    original = (
        getattr(model, network).get_parameter(path).detach() if parameter == "weight" else torch.zeros_like(wanted)
    )
    assert distance(patch.delta(original), wanted) < 1e-5


@pytest.mark.parametrize("case", [case for case in cases("lora.json") if case.id != "stack lin+lin"])
def test_unet_and_text_encoder_answer_as_the_references(
    case: dict[str, Any],
    model: Model,
    golden: Callable[..., torch.Tensor],
    predict: Callable[[], torch.Tensor],
    read_text: Callable[[], torch.Tensor],
) -> None:
    """P053, D041"""
    with patched(model, patches(case, model)):
        noise, text = predict(), read_text()
    assert distance(noise, golden("lora_outputs", f"{case['key']}/unet")) < 1e-4
    assert distance(text, golden("lora_outputs", f"{case['key']}/te")) < 1e-4


def test_the_same_file_twice_adds_where_the_reference_takes_the_last_strength_twice(
    model: Model, golden: Callable[..., torch.Tensor], predict: Callable[[], torch.Tensor]
) -> None:
    """P060"""
    with patched(model, patches(CASES["stack lin+lin"] | {"te": [0.3, 0.3], "unet": [0.3, 0.3]}, model)):
        assert distance(predict(), golden("lora_outputs", "stack lin+lin/unet")) < 1e-4
    with patched(model, patches(CASES["stack lin+lin"], model)):
        twice = predict()
    with patched(model, lora("lin").patches(model, 0.8).patches):
        assert distance(twice, predict()) < 1e-5


@pytest.mark.parametrize("name", FUNCTIONAL)
def test_merging_gives_what_adding_at_run_time_gives(
    name: str,
    model: Model,
    golden: Callable[..., torch.Tensor],
    predict: Callable[[], torch.Tensor],
) -> None:
    with patched(model, lora(name).patches(model, 0.7).patches):
        assert distance(predict(), golden("lora_outputs", f"functional/{name}/unet")) < 1e-4


def test_the_layers_matched_are_those_of_the_reference(model: Model) -> None:
    """D042"""
    for case in CASES.values():
        if not case["key"].endswith("@0.7"):
            continue
        targets = {patch.target.rpartition(".")[0] for patch in patches(case, model)}
        wanted = {
            layer_names(model)[
                LayerName("text_encoder", name.removeprefix(TEXT)) if name.startswith(TEXT) else layer_name(name)
            ]
            for name in case["modules"]
        }
        assert targets == wanted, case["key"]
