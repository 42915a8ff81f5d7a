"""Hypernetworks against the reference, and the files that are none."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from modules.models import Model, Pass, patched
from modules.networks import Hypernetwork, NetworkMisfit, load_hypernetwork
from modules.params import BadFile

from .conftest import GOLDEN, cases, distance


def hypernetwork(name: str) -> Hypernetwork:
    return load_hypernetwork(GOLDEN / "hypernetworks" / f"{name}.pt")


def module(width: int = 64, inner: int = 128) -> dict[str, torch.Tensor]:
    return {
        "linear.0.weight": torch.randn(inner, width),
        "linear.0.bias": torch.zeros(inner),
        "linear.2.weight": torch.randn(width, inner),
        "linear.2.bias": torch.zeros(width),
    }


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


@pytest.mark.parametrize("case", cases("hypernetworks.json"))
def test_the_unet_answers_as_the_references(
    case: dict[str, Any], model: Model, golden: Callable[..., torch.Tensor], predict: Callable[[], torch.Tensor]
) -> None:
    # D051, D052
    """P054, D050, D051, D052"""
    uses = zip(case["names"], case["multipliers"], strict=True)
    patches = [patch for name, strength in uses for patch in hypernetwork(name).patches(model, strength)]
    with patched(model, patches):
        assert distance(predict(), golden("hypernetworks", case["key"])) < 1e-4
    assert distance(predict(), golden("base", "unet/t500")) < 1e-4


@pytest.mark.parametrize("case", cases("hypernetworks.json"))
def test_widths_are_those_the_reference_read(case: dict[str, Any]) -> None:
    """D050"""
    for name, loaded in zip(case["names"], case["loaded"], strict=True):
        assert sorted(hypernetwork(name).bends) == sorted(loaded["sizes"])


def test_a_file_in_half_precision_is_computed_in_float32(model: Model, tmp_path: Path) -> None:
    """D051"""
    state = {name: tensor.half() for name, tensor in module().items()}
    (patch,) = load_hypernetwork(saved(tmp_path / "half.pt", {64: (state, state)})).patches(model)
    assert patch.keys(torch.randn(2, 77, 64)).dtype is torch.float32


def test_strength_zero_leaves_no_patch(model: Model) -> None:
    assert hypernetwork("h_relu4").patches(model, 0.0) == ()


def test_a_pass_is_carried_on(model: Model) -> None:
    assert all(patch.on is Pass.UNCOND for patch in hypernetwork("h_relu4").patches(model, 1.0, Pass.UNCOND))


def test_the_strength_is_part_of_the_key_and_the_rest_stays_equal(model: Model) -> None:
    read = hypernetwork("h_relu4")
    keys = [patch.key for patch in read.patches(model, 0.5)]
    assert keys == [patch.key for patch in read.patches(model, 0.5)]
    assert not set(keys) & {patch.key for patch in read.patches(model, 0.6)}


@pytest.mark.parametrize("activation", ["celu", "hardtanh", "softsign", "rrelu", "linear", None])
def test_every_activation_of_torch_that_has_no_weights_is_known(
    activation: str | None, tmp_path: Path, model: Model
) -> None:
    state = module()
    path = saved(tmp_path / "a.pt", {64: (state, state), "activation_func": activation})
    (patch,) = load_hypernetwork(path).patches(model)
    context = torch.randn(1, 77, 64)
    assert torch.equal(patch.keys(context), patch.keys(context))


def test_another_familys_hypernetwork_says_so(tmp_path: Path, model: Model) -> None:
    state = module(1024, 8)
    read = load_hypernetwork(saved(tmp_path / "wide.pt", {1024: (state, state), "name": "wide"}))
    with pytest.raises(NetworkMisfit, match=r"wide: made for SD 2, this is an SD 1 model .*1024.*64"):
        read.patches(dataclasses.replace(model, family="sd1"))


def folded(path: Path, name: str) -> Path:
    """A `.pt` hypernetwork as safetensors: layers in the names of its tensors, remarks in its header."""
    content = torch.load(GOLDEN / "hypernetworks" / f"{name}.pt", weights_only=True)
    tensors, remarks = {}, {}
    for key, value in content.items():
        if isinstance(key, int):
            tensors |= {f"{key}.{side}.{layer}": t for side in (0, 1) for layer, t in value[side].items()}
        else:
            remarks[key] = str(value)
    save_file(tensors, path, remarks)
    return path


@pytest.mark.parametrize("name", sorted(path.stem for path in (GOLDEN / "hypernetworks").glob("*.pt")))
def test_the_same_in_safetensors_bends_the_same(name: str, tmp_path: Path, model: Model) -> None:
    other = load_hypernetwork(folded(tmp_path / f"{name}.safetensors", name))
    by_width = {patch.width: patch for patch in other.patches(model, 0.8)}
    for wanted in hypernetwork(name).patches(model, 0.8):
        patch, context = by_width.pop(wanted.width), torch.randn(1, 7, wanted.width)
        assert torch.equal(patch.keys(context), wanted.keys(context))
        assert torch.equal(patch.values(context), wanted.values(context))
    assert not by_width


def test_a_lora_in_the_folder_of_hypernetworks_is_refused() -> None:
    with pytest.raises(BadFile, match="which no hypernetwork has"):
        load_hypernetwork(GOLDEN / "lora" / "lin.safetensors")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"name": "x"}, "no modules by width"),
        ([1, 2], "no modules by width"),
        ({64: (module(),)}, "no pair of modules"),
        ({64: ("a", "b")}, "no pair of modules"),
        ({64: (module(32), module(32))}, "do not follow on each other"),
        ({64: (module(), {"linear.0.weight": torch.zeros(64, 64)})}, "without weight or bias"),
        ({64: (module(), {"conv.weight": torch.zeros(64, 64)})}, "which no hypernetwork has"),
        ({64: (module(), {"linear.0.weight": torch.zeros(8, 64), "linear.0.bias": torch.zeros(8)})}, "into one of 8"),
        ({64: (module(), {})}, "into one of 64"),
        ({64: (module(), module()), "activation_func": "__class__"}, "uses the activation"),
        ({64: (module(), module()), "activation_func": ["relu"]}, "has a list for the name of its activation"),
        ({64: (module(), module()), "activation_func": torch.zeros(2)}, "has a Tensor for the name of its activation"),
        ({64: (module(), module()), "activate_output": torch.zeros(2)}, "whether its output is activated"),
        ({64: (module(), module() | {"linear.2.bias": torch.full((64,), torch.nan)})}, "NaN"),
    ],
)
def test_a_file_that_is_no_hypernetwork_says_why(content: Any, reason: str, tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=reason):
        load_hypernetwork(saved(tmp_path / "bad.pt", content))
