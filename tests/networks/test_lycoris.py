"""Files made by LyCORIS itself: the merged weights are LyCORIS's own, but for where the ancestor has another rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from lycoris.modules.boft import ButterflyOFTModule
from lycoris.modules.diag_oft import DiagOFTModule
from lycoris.modules.full import FullModule
from lycoris.modules.glora import GLoRAModule
from lycoris.modules.ia3 import IA3Module
from lycoris.modules.locon import LoConModule
from lycoris.modules.loha import LohaModule
from lycoris.modules.lokr import LokrModule
from lycoris.modules.norms import NormModule
from safetensors.torch import save_file
from torch import nn

from modules.models import Model, patched
from modules.networks import load_lora

from .conftest import distance

LINEAR = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
TALL = "mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj"
POINT = "down_blocks.2.attentions.0.proj_in"
KERNEL = "down_blocks.0.resnets.0.conv1"
WIDENING = "conv_in"
LAYERS = (LINEAR, TALL, POINT, KERNEL, WIDENING)
NORM = "down_blocks.0.resnets.1.norm1"
TEXT = "encoder.layers.0.self_attn.q_proj"

Make = Callable[[str, nn.Module], nn.Module]


def kind(module: type[nn.Module], **arguments: Any) -> Make:
    return lambda name, layer: module(name, layer, 1.0, **{"lora_dim": 4, "alpha": 2.0} | arguments)


KINDS: Mapping[str, Make] = {
    "LoRA": kind(LoConModule),
    "LoRA without alpha": kind(LoConModule, alpha=None),
    "LoCon with Tucker's kernel": kind(LoConModule, use_tucker=True),
    "LoRA with a scalar": kind(LoConModule, use_scalar=True),
    "LoRA with rank dropout": kind(LoConModule, rank_dropout=0.5, rank_dropout_scale=True),
    "LoHa": kind(LohaModule),
    "LoHa with Tucker's kernels": kind(LohaModule, use_tucker=True),
    "LoHa with a scalar": kind(LohaModule, use_scalar=True),
    "LoKr, second in parts": kind(LokrModule, factor=4, lora_dim=2),
    "LoKr, both in parts": kind(LokrModule, factor=8, lora_dim=1, decompose_both=True),
    "LoKr, both whole": kind(LokrModule, factor=4, full_matrix=True),
    "LoKr, factor chosen": kind(LokrModule),
    "LoKr with Tucker's kernel": kind(LokrModule, factor=4, lora_dim=2, use_tucker=True),
    "LoKr, both in parts, with Tucker's kernel": kind(
        LokrModule, factor=8, lora_dim=1, use_tucker=True, decompose_both=True
    ),
    "LoKr, unbalanced": kind(LokrModule, factor=4, lora_dim=2, unbalanced_factorization=True),
    "LoKr with a scalar": kind(LokrModule, factor=4, lora_dim=2, use_scalar=True),
    "IA3 on outputs": kind(IA3Module),
    "IA3 on inputs": kind(IA3Module, train_on_input=True),
    "GLoRA": kind(GLoRAModule),
    "OFT": kind(DiagOFTModule),
    "OFT with a constraint": kind(DiagOFTModule, constraint=1e-3),
    "OFT, rescaled": kind(DiagOFTModule, rescaled=True),
    "BOFT": kind(ButterflyOFTModule),
    "BOFT with a constraint": kind(ButterflyOFTModule, constraint=1e-3),
    "BOFT, rescaled": kind(ButterflyOFTModule, rescaled=True),
}
FULL_STRENGTH_ALONE = {"OFT, rescaled", "BOFT", "BOFT with a constraint", "BOFT, rescaled"}
"""Where the two agree at a strength of 1: A1111 goes in a straight line from the original to what is learnt, LyCORIS
scales the turning itself. The golden data hold A1111's rule, which is expected here for other strengths."""


def trained(make: Make, name: str, layer: nn.Module) -> nn.Module:
    """A LyCORIS module on the layer, as if trained for a while."""
    made = make(name, layer)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return made.requires_grad_(False).eval()


def merged(name: str, made: nn.Module, original: torch.Tensor, strength: float) -> torch.Tensor:
    """The weight that LyCORIS computes with."""
    if name in FULL_STRENGTH_ALONE:
        return original + strength * (made.get_merged_weight()[0] - original)
    if isinstance(made, LohaModule | LokrModule):
        # its get_merged_weight multiplies by alpha / rank twice, what training and inference run does it once
        changed = original + strength * made.scalar * made.get_weight(original.shape)
        return made.apply_weight_decompose(changed) if made.wd else changed
    return made.get_merged_weight(multiplier=strength)[0]


def layers_of(model: Model) -> dict[str, nn.Module]:
    """Layers of both networks, by a file's names for them."""
    unet = {f"lora_unet_{name.replace('.', '_')}": model.unet.get_submodule(name) for name in LAYERS}
    return unet | {f"lora_te_text_model_{TEXT.replace('.', '_')}": model.text_encoder.get_submodule(TEXT)}


def save(path: Path, modules: Mapping[str, nn.Module]) -> Path:
    state = {f"{name}.{key}": value for name, made in modules.items() for key, value in made.state_dict().items()}
    save_file({key: value.detach().clone().contiguous() for key, value in state.items()}, path)
    return path


STRENGTHS = [1.0, 0.7, -1.3]


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("name", KINDS)
def test_a_merged_weight_is_that_of_lycoris(name: str, strength: float, model: Model, tmp_path: Path) -> None:
    """D041: every kind, made by LyCORIS itself."""
    torch.manual_seed(3)
    layers = layers_of(model)
    modules = {key: trained(KINDS[name], key, deepcopy(layer)) for key, layer in layers.items()}
    wanted = {key: merged(name, made, layers[key].weight.detach(), strength) for key, made in modules.items()}
    patches, unmatched = load_lora(save(tmp_path / "made.safetensors", modules)).patches(model, strength)
    assert unmatched == ()
    assert len({patch.target for patch in patches}) == len(layers)
    with patched(model, patches):
        for key, layer in layers.items():
            assert distance(layer.weight, wanted[key].reshape(layer.weight.shape)) < 1e-5, key


def test_any_mix_of_kinds_in_one_file_is_read(model: Model, tmp_path: Path) -> None:
    torch.manual_seed(3)
    kinds = ("LoHa", "LoKr, both whole", "IA3 on inputs", "LoCon with Tucker's kernel", "OFT", "LoRA")
    mix = dict(zip(layers_of(model), kinds, strict=True))
    layers = layers_of(model)
    modules = {key: trained(KINDS[kind], key, deepcopy(layers[key])) for key, kind in mix.items()}
    wanted = {key: merged(mix[key], made, layers[key].weight.detach(), 1.0) for key, made in modules.items()}
    with patched(model, load_lora(save(tmp_path / "mix.safetensors", modules)).patches(model).patches):
        for key, layer in layers.items():
            assert distance(layer.weight, wanted[key].reshape(layer.weight.shape)) < 1e-5, key


DORAS: Mapping[str, Make] = {
    "LoRA": kind(LoConModule, weight_decompose=True, wd_on_out=False),
    "LoHa": kind(LohaModule, weight_decompose=True, wd_on_out=False),
    "LoKr": kind(LokrModule, factor=4, lora_dim=2, weight_decompose=True, wd_on_out=False),
}


@pytest.mark.parametrize("name", DORAS)
def test_dora_by_inputs_is_that_of_lycoris_at_a_strength_of_one(name: str, model: Model, tmp_path: Path) -> None:
    """At others A1111 moves the whole weight towards the one that is learnt, LyCORIS its length alone."""
    torch.manual_seed(3)
    layers = layers_of(model)
    modules = {key: trained(DORAS[name], key, deepcopy(layer)) for key, layer in layers.items()}
    path = save(tmp_path / "made.safetensors", modules)
    for strength in STRENGTHS:
        originals = {key: layer.weight.detach().clone() for key, layer in layers_of(model).items()}
        with patched(model, load_lora(path).patches(model, strength).patches):
            for key, layer in layers.items():
                learnt = merged(name, modules[key], originals[key], 1.0).reshape(layer.weight.shape)
                assert distance(layer.weight, originals[key] + strength * (learnt - originals[key])) < 1e-5, key


@pytest.mark.parametrize("strength", STRENGTHS)
def test_a_full_difference_is_that_of_lycoris(strength: float, model: Model, tmp_path: Path) -> None:
    torch.manual_seed(3)
    layers = layers_of(model)
    modules = {}
    for key, layer in layers.items():
        modules[key] = FullModule(key, deepcopy(layer))
        modules[key].apply_to()
        for parameter in modules[key].parameters():
            parameter.data.add_(torch.randn_like(parameter) * 0.1)
    path = save(tmp_path / "full.safetensors", modules)
    wanted = {key: made.requires_grad_(False).make_weight(strength) for key, made in modules.items()}
    with patched(model, load_lora(path).patches(model, strength).patches):
        for key, layer in layers.items():
            weight, bias = wanted[key]
            assert distance(layer.weight, weight) < 1e-5
            assert bias is None or distance(layer.bias, bias) < 1e-5


def test_a_merged_normalisation_is_that_of_lycoris(model: Model, tmp_path: Path) -> None:
    layer = model.unet.get_submodule(NORM)
    name = f"lora_unet_{NORM.replace('.', '_')}"
    made = trained(lambda name, layer: NormModule(name, layer, 1.0), name, layer)
    weight, bias = made.get_merged_weight(multiplier=0.7)
    with patched(model, load_lora(save(tmp_path / "norm.safetensors", {name: made})).patches(model, 0.7).patches):
        assert distance(layer.weight, weight.detach()) < 1e-5
        assert distance(layer.bias, bias.detach()) < 1e-5


def test_dora_by_outputs_is_read_by_the_ancestors_rule(model: Model, tmp_path: Path) -> None:
    """LyCORIS measures lengths along the outputs here; A1111 along the inputs, whichever way the file has them."""
    torch.manual_seed(3)
    layer = model.unet.get_submodule(LINEAR)
    name = f"lora_unet_{LINEAR.replace('.', '_')}"
    made = trained(kind(LoConModule, weight_decompose=True), name, layer)
    theirs = made.get_merged_weight(multiplier=1.0)[0].detach()
    changed = layer.weight + made.get_diff_weight()[0].detach()
    ancestors = changed / changed.norm(dim=0, keepdim=True) * made.dora_scale.detach()
    with patched(model, load_lora(save(tmp_path / "dora.safetensors", {name: made})).patches(model).patches):
        assert distance(layer.weight, ancestors) < 1e-5
        assert distance(layer.weight, theirs) > 1e-3
