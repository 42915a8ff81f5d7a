"""A network of the negative prompt acts on the unconditional pass alone (P057)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from modules.models import Model, Pass, Patch, patched
from modules.networks import load_hypernetwork, load_lora

from .conftest import GOLDEN

Answer = Callable[[], torch.Tensor]


def lora(model: Model, on: Pass) -> tuple[Patch, ...]:
    return load_lora(GOLDEN / "lora" / "dora.safetensors").patches(model, 0.7, on=on).patches


def hypernetwork(model: Model, on: Pass) -> tuple[Patch, ...]:
    return load_hypernetwork(GOLDEN / "hypernetworks" / "h_relu4.pt").patches(model, 0.7, on)


@pytest.mark.parametrize("network", [lora, hypernetwork])
def test_the_prompts_pass_stays_and_the_other_is_as_if_it_acted_on_all(
    network: Callable[[Model, Pass], tuple[Patch, ...]], model: Model, predict: Answer
) -> None:
    """P057"""
    bare = predict()
    with patched(model, network(model, Pass.BOTH)) as live:
        assert not live.splits_guidance
        everywhere = predict()
    with patched(model, network(model, Pass.UNCOND)) as live:
        assert live.splits_guidance
        assert torch.equal(predict(), bare)
        with live.on(Pass.UNCOND):
            assert torch.equal(predict(), everywhere)
    assert torch.equal(predict(), bare)


def test_a_loras_text_encoder_part_acts_while_the_negative_prompt_is_encoded(model: Model, read_text: Answer) -> None:
    bare = read_text()
    with patched(model, lora(model, Pass.UNCOND)) as live:
        assert torch.equal(read_text(), bare)
        with live.on(Pass.UNCOND):
            assert not torch.equal(read_text(), bare)


def test_half_and_half_is_the_whole_on_every_run(model: Model, predict: Answer) -> None:
    """P060"""
    read = load_lora(GOLDEN / "lora" / "lin.safetensors")
    with patched(model, read.patches(model, 1.0).patches):
        whole = predict()
    for _run in (1, 2):
        with patched(model, (*read.patches(model, 0.5).patches, *read.patches(model, 0.5).patches)):
            assert torch.allclose(predict(), whole, atol=1e-5)
