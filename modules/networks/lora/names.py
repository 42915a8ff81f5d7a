"""The many names that LoRA files have for one layer.

Trainers write a layer as diffusers calls it or as the original Stable Diffusion code did, with dots or with underscores
in their place, and with a prefix for the network it is in. All come down to `LayerName`: the network, and the layer's
own name with underscores, which `layer_names` lists for a loaded model under both systems.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from modules.models import Model, bare
from modules.models.places import Place, openclip_places, unet_places

PROJECTION = "text_projection"
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
            *("text_encoders_clip_g_", "conditioner_embedders_1_", "conditioner_embedders_0_model_"),
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
    for network, layers in _layers(model).items():
        original = _original_names(network, layers)
        for layer in layers:
            dotted = f"{network}.{layer}"
            names[LayerName(network, layer.replace(".", "_").removeprefix("text_model_"))] = dotted
            place = original[layer]
            if place.third is None:
                names[LayerName(network, _flat(place))] = dotted
            else:
                names[LayerName(network, IN_PROJ.sub(f"_{'qkv'[place.third]}_proj", _flat(place)))] = dotted
    return names


def fused_names(model: Model) -> dict[LayerName, tuple[str, ...]]:
    """What OpenCLIP's attentions keep as one matrix, `in_proj`: the three layers that it is here, in its order."""
    fused: dict[LayerName, dict[int, str]] = {}
    for network, layers in _layers(model).items():
        for layer, place in _original_names(network, layers).items():
            if place.third is not None:
                fused.setdefault(LayerName(network, _flat(place)), {})[place.third] = f"{network}.{layer}"
    return {name: tuple(thirds[third] for third in sorted(thirds)) for name, thirds in fused.items()}


def _layers(model: Model) -> dict[str, list[str]]:
    """The dotted names of the layers that have a weight, by network."""
    networks = {name: bare(model, name) for name in (UNET, TEXT_ENCODER, TEXT_ENCODER_2)}
    return {
        name: [layer for layer, module in network.named_modules() if getattr(module, "weight", None) is not None]
        for name, network in networks.items()
        if network is not None
    }


def _original_names(network: str, layers: Iterable[str]) -> dict[str, Place]:
    """Where the weight of each layer lies in the original layout, which is OpenCLIP's for a text encoder."""
    places = (unet_places if network == UNET else openclip_places)(f"{layer}.weight" for layer in layers)
    return {weight.removesuffix(".weight"): place for weight, place in places.items()}


def _flat(place: Place) -> str:
    return _text_layer(place.name.removesuffix(".weight").replace(".", "_"))


def _modern_attention(match: re.Match[str]) -> str:
    return "_to_out_0" if match[1] == "out" else f"_to_{match[1]}"
