"""The same networks on the next picture cost nothing, and a failure leaves none behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from modules.models import Model, bare
from modules.params import TagbrushError

EVERYTHING = "a cat <lora:lin:0.8:1.1><lora:dora:0.9><hypernet:h_relu4:0.8>"
AGAINST = "a dog <lora:locon:0.5>"
Draw = Callable[..., Any]


def same(model: Model, before: dict[str, torch.Tensor]) -> bool:
    """Whether the UNet's weights are what they were, without asking for them to be put back."""
    now = bare(model, "unet").state_dict()
    return all(torch.equal(now[name], tensor) for name, tensor in before.items())


def test_the_same_networks_on_the_next_picture_cost_nothing(draw: Draw, model: Model) -> None:
    """E001"""
    fields = {"prompt": EVERYTHING, "negative_prompt": AGAINST}
    draw(**fields, seed=1)
    written = model.merges.written
    draw(**fields, seed=2)
    assert model.merges.written == written
    draw(**fields | {"prompt": "another cat <lora:lin:0.8:1.1><lora:dora:0.9>"}, seed=3)
    assert model.merges.written == written  # what a hypernetwork changes is no weight


def test_a_picture_without_networks_puts_every_weight_back(draw: Draw, model: Model) -> None:
    """P059"""
    before = {name: tensor.clone() for name, tensor in model.unet.state_dict().items()}
    draw(prompt=EVERYTHING)
    assert not same(model, before)
    draw(prompt="a cat")
    assert same(model, before)


def test_a_failure_puts_every_weight_back(draw: Draw, model: Model) -> None:
    """R006"""
    before = {name: tensor.clone() for name, tensor in model.unet.state_dict().items()}
    with pytest.raises(TagbrushError, match="not numbers"):
        draw(prompt="a cat <lora:lin:1e30>")
    assert same(model, before)
