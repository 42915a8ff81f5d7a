"""Files made by PEFT and diffusers themselves: the merged weights are PEFT's own."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoHaConfig, LoKrConfig, LoraConfig, get_peft_model_state_dict, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import save_file
from torch import nn

from modules.models import Model, patched
from modules.networks import load_lora

from .conftest import distance

LINEAR = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "proj_in"]
UNET = [*LINEAR, "conv1", "time_emb_proj", "conv_shortcut", "downsamplers.0.conv", "upsamplers.0.conv", "conv_in"]
TEXT = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]

LORAS: Mapping[str, dict[str, Any]] = {
    "plain": {},
    "alpha": {"lora_alpha": 2},
    "rank-stabilised": {"lora_alpha": 3, "use_rslora": True},
    "ranks and alphas by layer": {
        "lora_alpha": 2,
        "rank_pattern": {"attn1.to_q": 2},
        "alpha_pattern": {"attn1.to_q": 7, "attn2.to_k": 5},
    },
    "DoRA": {"lora_alpha": 2, "use_dora": True},
}


class Adapter(NamedTuple):
    """The tensors of an adapter, and what PEFT makes of the weights with it."""

    state: dict[str, torch.Tensor]
    merged: dict[str, torch.Tensor]


def adapted(network: nn.Module, config: Any) -> nn.Module:
    """A copy of the network with an adapter that was trained for a while."""
    adapted = inject_adapter_in_model(config, deepcopy(network), "default")
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if any(part in name for part in ("lora_", "hada_", "lokr_")):
                parameter.add_(torch.randn_like(parameter) * 0.05)
    return adapted.requires_grad_(False).eval()


def merged(network: nn.Module) -> dict[str, torch.Tensor]:
    """What PEFT makes of the weights, by the layer's name."""
    layers = {name: layer for name, layer in network.named_modules() if isinstance(layer, BaseTunerLayer)}
    for layer in layers.values():
        layer.merge()
    return {name: layer.get_base_layer().weight.detach() for name, layer in layers.items()}


def check(network: nn.Module, wanted: Mapping[str, torch.Tensor], bare: Mapping[str, torch.Tensor], by: float) -> None:
    for name, weight in wanted.items():
        got, original = network.get_submodule(name).weight, bare[f"{name}.weight"]
        assert distance(got, original + by * (weight - original)) < 1e-5, name


def copies(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("kind", LORAS)
def test_a_file_of_diffusers_is_merged_as_peft_merges_it(kind: str, model: Model, tmp_path: Path) -> None:
    """D042: `save_lora_weights` writes what PEFT must know of alphas into the metadata."""
    torch.manual_seed(4)
    config = LoraConfig(r=4, target_modules=UNET, init_lora_weights=False, **LORAS[kind])
    for_text = {name: value for name, value in LORAS[kind].items() if not name.endswith("_pattern")}
    text_config = LoraConfig(r=4, target_modules=TEXT, init_lora_weights=False, **for_text)
    unet, text = adapted(model.unet, config), adapted(model.text_encoder, text_config)
    StableDiffusionPipeline.save_lora_weights(
        tmp_path,
        unet_lora_layers=convert_state_dict_to_diffusers(get_peft_model_state_dict(unet)),
        text_encoder_lora_layers=convert_state_dict_to_diffusers(get_peft_model_state_dict(text)),
        unet_lora_adapter_metadata=config.to_dict(),
        text_encoder_lora_adapter_metadata=text_config.to_dict(),
    )
    wanted_unet, wanted_text = merged(unet), merged(text)
    bare_unet, bare_text = copies(model.unet), copies(model.text_encoder)
    for strength in (1.0, 0.7):
        patches, unmatched = load_lora(tmp_path / "pytorch_lora_weights.safetensors").patches(model, strength)
        assert unmatched == ()
        with patched(model, patches):
            check(model.unet, wanted_unet, bare_unet, strength)
            check(model.text_encoder, wanted_text, bare_text, strength)


@pytest.fixture(
    scope="module",
    params=[
        LoraConfig(r=4, lora_alpha=4, target_modules=UNET),
        LoHaConfig(r=4, alpha=4, target_modules=UNET),
        LoHaConfig(r=4, alpha=4, target_modules=UNET, use_effective_conv2d=True),
        LoKrConfig(r=4, alpha=4, target_modules=UNET),
        LoKrConfig(r=2, alpha=2, target_modules=UNET, decompose_factor=4, decompose_both=True),
        LoKrConfig(r=2, alpha=2, target_modules=UNET, decompose_factor=4, use_effective_conv2d=True),
    ],
    ids=["LoRA", "LoHa", "LoHa of kernels", "LoKr", "LoKr of parts", "LoKr of kernels"],
)
def adapter(request: pytest.FixtureRequest, model: Model) -> Adapter:
    torch.manual_seed(4)
    config = request.param
    config.init_weights = False
    unet = adapted(model.unet, config)
    state = {name.removeprefix("base_model.model."): part for name, part in get_peft_model_state_dict(unet).items()}
    state = {name: part.clone() for name, part in state.items()}
    return Adapter(state, merged(unet))


@pytest.mark.parametrize("prefix", ["base_model.model.", "base_model.model.unet.", "unet.", ""])
def test_an_adapter_of_peft_is_merged_as_peft_merges_it(
    adapter: Adapter, prefix: str, model: Model, tmp_path: Path
) -> None:
    """D042: its tensors alone, under each beginning that they are saved with; alpha is the rank, as they lack it."""
    path = tmp_path / "adapter_model.safetensors"
    save_file({f"{prefix}{name}": tensor for name, tensor in adapter.state.items()}, path)
    bare = copies(model.unet)
    patches, unmatched = load_lora(path).patches(model)
    assert unmatched == ()
    with patched(model, patches):
        check(model.unet, adapter.merged, bare, 1.0)


def test_the_state_of_a_whole_adapted_model_is_read_under_its_adapters_name(model: Model, tmp_path: Path) -> None:
    torch.manual_seed(4)
    config = LoraConfig(r=4, lora_alpha=4, target_modules=LINEAR, init_lora_weights=False)
    unet = inject_adapter_in_model(config, deepcopy(model.unet), "my style")
    state = {f"unet.{name}": tensor for name, tensor in unet.state_dict().items() if "lora_" in name}
    assert all(".my style." in name for name in state)
    save_file(state, tmp_path / "state.safetensors")
    wanted, bare = merged(unet), copies(model.unet)
    with patched(model, load_lora(tmp_path / "state.safetensors").patches(model).patches):
        check(model.unet, wanted, bare, 1.0)
