"""The many names that LoRA files have for one layer.

Trainers write a layer as diffusers calls it or as the original Stable Diffusion code did, with dots or with underscores
in their place, and with a prefix for the network it is in. All come down to `LayerName`: the network, and the layer's
own name with underscores, which `layer_names` lists for a loaded model under both systems.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from torch import nn

from modules.models import Model, bare

UNET, TEXT_ENCODER, TEXT_ENCODER_2 = "unet", "text_encoder", "text_encoder_2"


class LayerName(NamedTuple):
    """A layer as any file may mean it."""

    network: str
    """`unet`, `text_encoder` or `text_encoder_2`: the attribute of the Model."""
    layer: str
    """Dotted in the model, underscores here: `down_blocks_0_attentions_0_proj_in`."""


PARTS: Mapping[str, str] = {
    **{
        f"{written}{weight}": part
        for written, part in {
            ".lora_up": "up",
            ".lora_down": "down",
            ".lora_mid": "mid",
            ".lora_B": "up",
            ".lora_A": "down",
            ".lora.up": "up",
            ".lora.down": "down",
            "_lora.up": "up",
            "_lora.down": "down",
            ".lora_linear_layer.up": "up",
            ".lora_linear_layer.down": "down",
            ".lora_magnitude_vector": "magnitude",
            ".a1": "a1",
            ".a2": "a2",
            ".b1": "b1",
            ".b2": "b2",
        }.items()
        for weight in (".weight", "")
    },
    **{
        f".{part}": part
        for part in (
            *("alpha", "scale", "bias", "dora_scale", "diff", "diff_b", "w_norm", "b_norm", "weight", "on_input"),
            *("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"),
            *("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"),
            *("oft_blocks", "oft_diag", "rescale"),
        )
    },
}
"""How a tensor's key ends, and what it then is for its layer."""

ENDING = re.compile("(" + "|".join(map(re.escape, sorted(PARTS, key=len, reverse=True))) + ")$")
ADAPTER = re.compile(r"(?:(?<=\.lora_[AB])|(?<=\.lora_magnitude_vector))\.(?!weight$)[^.]+(?=\.weight$|$)")
"""The name of an adapter, which PEFT writes into the keys of a whole model's state."""

PREFIXES: tuple[tuple[str, str], ...] = (
    *((prefix, UNET) for prefix in ("lora_unet_", "oft_unet_", "lycoris_unet_", "lora_prior_unet_")),
    *((prefix, UNET) for prefix in ("model_diffusion_model_", "diffusion_model_", "unet_")),
    *(
        (prefix, TEXT_ENCODER_2)
        for prefix in (
            *("lora_te2_", "lycoris_te2_", "lora_prior_te_", "text_encoder_2_", "lycoris_text_encoder_2_"),
            *("text_encoders_clip_g_", "conditioner_embedders_1_"),
        )
    ),
    *(
        (prefix, TEXT_ENCODER)
        for prefix in (
            *("lora_te_", "lora_te1_", "lycoris_te_", "lycoris_te1_", "lycoris_text_encoder_", "text_encoder_"),
            *("text_encoders_clip_l_", "text_encoders_clip_h_", "cond_stage_model_", "conditioner_embedders_0_"),
            "lycoris_text_model_",
        )
    ),
    ("lycoris_", UNET),
)
"""Which network a key's beginning means, dots written as underscores; the first that fits has it."""

WRAPPER = "base_model_model_"
BARE_UNET = re.compile(r"(down_blocks|up_blocks|mid_block|conv_in|conv_out|time_embedding|add_embedding)_")
BARE_TEXT = re.compile(r"text_model_(encoder|final_layer_norm|embeddings)_")
"""The names that trainers wrote when they saved one network alone, without saying which."""
TEXT_WRAPPERS = re.compile(r"^(\d_)?(model_)?(transformer_)?(text_model_)?(transformer_)?(?=\w)")
OLD_ATTENTION = re.compile(r"_processor_to_(q|k|v|out)$")
IN_PROJ = re.compile(r"_in_proj(_weight)?$")


def split_key(key: str) -> tuple[str, str] | None:
    """The layer as the file names it, and the part of it that the key's tensor is; None for a key of no LoRA."""
    key = ADAPTER.sub("", key)
    ending = ENDING.search(key)
    if ending is None or ending.start() == 0:
        return None
    return key[: ending.start()], PARTS[ending.group()]


def layer_name(written: str) -> LayerName | None:
    """The layer that a file's name for it means, or None where it belongs to no network known here."""
    flat = written.replace(".", "_").removeprefix(WRAPPER)
    if BARE_UNET.match(f"{flat}_"):
        return _unet_layer(flat)
    if BARE_TEXT.match(f"{flat}_"):
        return LayerName(TEXT_ENCODER, _text_layer(flat))
    for prefix, network in PREFIXES:
        if not flat.startswith(prefix):
            continue
        layer = flat.removeprefix(prefix)
        if network != UNET:
            # SDXL's pooled text comes from its second encoder alone, whichever name its projection goes by
            network = TEXT_ENCODER_2 if prefix == "lora_te_" and layer == PROJECTION else network
            return LayerName(network, _text_layer(layer))
        if prefix == "oft_unet_" and not layer.startswith(("input_blocks_", "middle_block_", "output_blocks_")):
            return None  # the ancestor reads these names in the original scheme alone
        return _unet_layer(layer)
    return None


def _unet_layer(layer: str) -> LayerName:
    return LayerName(UNET, OLD_ATTENTION.sub(_modern_attention, layer))


def _text_layer(layer: str) -> str:
    return IN_PROJ.sub("_in_proj", TEXT_WRAPPERS.sub("", layer))


def layer_names(model: Model) -> dict[LayerName, str]:
    """Every layer of the model that has a weight: from each name it may have to its dotted name on the model."""
    names: dict[LayerName, str] = {}
    for network in (UNET, TEXT_ENCODER, TEXT_ENCODER_2):
        module = bare(model, network)
        if module is None:
            continue
        other_names = _original_unet_names(module) if network == UNET else _openclip_names
        for name, layer in module.named_modules():
            if not isinstance(getattr(layer, "weight", None), nn.Parameter):
                continue
            dotted = f"{network}.{name}"
            plain = name.replace(".", "_").removeprefix("text_model_")
            names[LayerName(network, plain)] = dotted
            for other in other_names(name):
                names[LayerName(network, other.replace(".", "_"))] = dotted
    return names


def fused_names(names: Mapping[LayerName, str]) -> dict[LayerName, tuple[str, str, str]]:
    """What OpenCLIP's attentions keep as one matrix, `in_proj`: the three layers that it is here, in its order."""
    fused = {}
    for name in names:
        if name.network != UNET and name.layer.endswith("_attn_q_proj") and name.layer.startswith("resblocks_"):
            q, k, v = (names[name._replace(layer=f"{name.layer[:-6]}{part}_proj")] for part in "qkv")
            fused[name._replace(layer=f"{name.layer[:-6]}in_proj")] = (q, k, v)
    return fused


PROJECTION = "text_projection"
OPENCLIP: Mapping[str, str] = {
    "self_attn.q_proj": "attn.q_proj",
    "self_attn.k_proj": "attn.k_proj",
    "self_attn.v_proj": "attn.v_proj",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
}
"""The layers of a block, and what OpenCLIP calls them."""


def _openclip_names(name: str) -> Iterator[str]:
    match = re.search(r"encoder\.layers\.(\d+)\.(.+)$", name)
    if match and match[2] in OPENCLIP:
        yield f"resblocks.{match[1]}.{OPENCLIP[match[2]]}"
    elif name.endswith("final_layer_norm"):
        yield "ln_final"


def _original_unet_names(unet: nn.Module) -> Callable[[str], Iterator[str]]:
    original = dict(_original_blocks(unet))

    def names(name: str) -> Iterator[str]:
        for block in _ancestors(name):
            if block in original:
                rest = ORIGINAL_RESNET.get(name[len(block) + 1 :], name[len(block) + 1 :])
                yield ".".join(filter(None, (original[block], rest)))

    return names


ORIGINAL_RESNET: Mapping[str, str] = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
"""The layers of a residual block; those of attentions have one name in both systems."""

ORIGINAL_ENDS: Mapping[str, str] = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}


def _original_blocks(unet: nn.Module) -> Iterator[tuple[str, str]]:
    """(diffusers' name, original name) of the UNet's blocks, counted as the original code lists them."""
    yield from ORIGINAL_ENDS.items()
    number = 1
    for down, block in enumerate(unet.down_blocks):
        for layer in range(len(block.resnets)):
            yield f"down_blocks.{down}.resnets.{layer}", f"input_blocks.{number}.0"
            yield f"down_blocks.{down}.attentions.{layer}", f"input_blocks.{number}.1"
            number += 1
        if block.downsamplers:
            yield f"down_blocks.{down}.downsamplers.0.conv", f"input_blocks.{number}.0.op"
            number += 1
    for diffusers, original in (("resnets.0", "0"), ("attentions.0", "1"), ("resnets.1", "2")):
        yield f"mid_block.{diffusers}", f"middle_block.{original}"
    number = 0
    for up, block in enumerate(unet.up_blocks):
        for layer in range(len(block.resnets)):
            yield f"up_blocks.{up}.resnets.{layer}", f"output_blocks.{number}.0"
            yield f"up_blocks.{up}.attentions.{layer}", f"output_blocks.{number}.1"
            number += 1
        if block.upsamplers:
            place = 2 if getattr(block, "attentions", None) else 1
            yield f"up_blocks.{up}.upsamplers.0.conv", f"output_blocks.{number - 1}.{place}.conv"


def _ancestors(name: str) -> Iterator[str]:
    """The dotted name itself and all it lies in: a.b.c, a.b, a."""
    while name:
        yield name
        name = name.rpartition(".")[0]


def _modern_attention(match: re.Match[str]) -> str:
    return "_to_out_0" if match[1] == "out" else f"_to_{match[1]}"
