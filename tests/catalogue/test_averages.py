"""Averaged weights take the place of ordinary ones that are not there."""

from __future__ import annotations

import pytest

from modules.catalogue.averages import averages_as_weights

UNET = "model.diffusion_model."
NAMES = [
    "time_embed.0.weight",
    "label_emb.0.2.bias",
    "out.2.weight",
    "input_blocks.0.0.weight",
    "input_blocks.10.0.in_layers.2.weight",
    "input_blocks.1.0.out_layers.3.bias",
    "input_blocks.3.0.op.weight",
    "input_blocks.8.1.transformer_blocks.11.attn2.to_k.weight",
    "input_blocks.8.1.transformer_blocks.1.attn1.to_out.0.bias",
    "middle_block.1.transformer_blocks.0.ff.net.0.proj.weight",
    "middle_block.1.transformer_blocks.0.ff.net.2.weight",
    "middle_block.1.transformer_blocks.0.norm3.bias",
    "middle_block.0.emb_layers.1.weight",
    "output_blocks.11.0.skip_connection.weight",
    "output_blocks.5.2.conv.bias",
    "output_blocks.5.1.norm.weight",
    "output_blocks.5.1.proj_out.weight",
]


def flat(name: str) -> str:
    return "model_ema.diffusion_model" + name.replace(".", "")


def test_every_name_gets_its_dots_back() -> None:
    """D015."""
    found = averages_as_weights({flat(name): name for name in NAMES} | {"model_ema.decay": "", "betas": ""})
    assert found == {UNET + name: name for name in NAMES} | {"model_ema.decay": "", "betas": ""}


def test_averages_beside_ordinary_weights_are_leftovers() -> None:
    tensors = {UNET + NAMES[0]: 1, flat(NAMES[0]): 2}
    assert averages_as_weights(tensors) is tensors


@pytest.mark.parametrize("name", ["model_ema.diffusion_modelnothing", "model_ema.diffusion_modelout", "lora_unet_x"])
def test_names_that_no_unet_has_stay(name: str) -> None:
    assert averages_as_weights({name: 1}) == {name: 1}
