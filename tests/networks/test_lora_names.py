"""Every way a file may name a layer leads to that layer of the model."""

from __future__ import annotations

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders.lora_conversion_utils import _convert_unet_lora_key, _maybe_map_sgm_blocks_to_diffusers

from modules.models import Model, load
from modules.models.places import unet_places
from modules.networks.lora.names import (
    TEXT_ENCODER,
    TEXT_ENCODER_2,
    UNET,
    LayerName,
    fused_names,
    layer_name,
    layer_names,
    split_key,
)
from tests.models.small import FAMILIES, Structure, make_networks, original_tensors, write

TO_Q = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
TO_OUT = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0"
CONV = "unet.up_blocks.0.upsamplers.0.conv"
Q_PROJ = "text_encoder.encoder.layers.0.self_attn.q_proj"


@pytest.mark.parametrize(
    ("key", "place", "part"),
    [
        ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.lora_up.weight", TO_Q, "up"),
        ("lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q.lora_down.weight", TO_Q, "down"),
        ("oft_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q.oft_blocks", TO_Q, "oft_blocks"),
        ("lycoris_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.lokr_w1", TO_Q, "lokr_w1"),
        ("lycoris_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.dora_scale", TO_Q, "dora_scale"),
        ("unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight", TO_Q, "down"),
        ("unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_B.default.weight", TO_Q, "up"),
        ("unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora.up.weight", TO_Q, "up"),
        ("unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_magnitude_vector", TO_Q, "magnitude"),
        ("unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.up.weight", TO_Q, "up"),
        ("unet.mid_block.attentions.0.transformer_blocks.0.attn1.processor.to_out_lora.down.weight", TO_OUT, "down"),
        ("lora_unet_middle_block_1_transformer_blocks_0_attn1_to_out_0.alpha", TO_OUT, "alpha"),
        ("base_model.model.unet.up_blocks.0.upsamplers.0.conv.lora_A.weight", CONV, "down"),
        ("diffusion_model.output_blocks.2.1.conv.diff", CONV, "diff"),
        ("lora_te_text_model_encoder_layers_0_self_attn_q_proj.hada_w1_a", Q_PROJ, "hada_w1_a"),
        ("lora_te1_text_model_encoder_layers_0_self_attn_q_proj.b1.weight", Q_PROJ, "b1"),
        ("lycoris_te_text_model_encoder_layers_0_self_attn_q_proj.diff_b", Q_PROJ, "diff_b"),
        ("lycoris_text_model_encoder_layers_0_self_attn_q_proj.on_input", Q_PROJ, "on_input"),
        ("text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_linear_layer.up.weight", Q_PROJ, "up"),
        ("text_encoders.clip_l.transformer.text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight", Q_PROJ, "down"),
        ("lora_unet_time_embed_2.alpha", "unet.time_embedding.linear_2", "alpha"),
        ("lora_unet_out_0.w_norm", "unet.conv_norm_out", "w_norm"),
        ("lora_unet_output_blocks_11_0_skip_connection.alpha", "unet.up_blocks.3.resnets.2.conv_shortcut", "alpha"),
    ],
)
def test_a_key_leads_to_its_layer(key: str, place: str, part: str, model: Model) -> None:
    """D042"""
    split = split_key(key)
    assert split is not None
    name, found = split
    meant = layer_name(name)
    assert meant is not None
    assert (layer_names(model)[meant], found) == (place, part)


def test_sdxls_second_text_encoder_is_not_taken_for_the_first() -> None:
    name = layer_name("lora_te2_text_model_encoder_layers_0_self_attn_q_proj")
    assert name == LayerName("text_encoder_2", "encoder_layers_0_self_attn_q_proj")


def test_the_ancestor_reads_oft_in_the_original_scheme_alone() -> None:
    assert layer_name("oft_unet_down_blocks_0_attentions_1_transformer_blocks_0_attn1_to_q") is None


def test_both_schemes_name_every_layer_of_the_unet_once(model: Model) -> None:
    names = layer_names(model)
    places = {place for name, place in names.items() if name.network == "unet"}
    original = {name.layer: place for name, place in names.items() if name.layer.startswith(("input", "middle", "out"))}
    inner = {place for place in places if not place.startswith("unet.time_embedding")}
    assert set(original.values()) == inner
    assert len(original) == len(inner)


@pytest.mark.parametrize("key", ["step", ".alpha", "emb_params", "model.diffusion_model.out.2.running_mean", ""])
def test_a_key_of_no_lora_is_none(key: str) -> None:
    assert split_key(key) is None


@pytest.fixture(scope="module", params=["sd2", "sdxl", "sdxl_inpaint", "sdxl_refiner"])
def other(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Structure]:
    structure = FAMILIES[request.param]
    path = tmp_path_factory.mktemp("models") / "other.safetensors"
    write(path, structure)
    return load(path), structure


OPENCLIP = {"sd2": TEXT_ENCODER, "sdxl": TEXT_ENCODER_2, "sdxl_refiner": TEXT_ENCODER_2}
PREFIXES = {TEXT_ENCODER: ("lora_te_", "lora_te1_"), TEXT_ENCODER_2: ("lora_te2_",)}


def test_every_layer_has_its_names_in_files_of_every_family(other: tuple[Model, Structure]) -> None:
    """D042: kohya's under both systems of blocks, OpenCLIP's with its thirds apart and in one, dotted ones."""
    model, structure = other
    names, fused = layer_names(model), fused_names(model)
    for network in (UNET, TEXT_ENCODER, TEXT_ENCODER_2):
        module = getattr(model, network)
        for name, _ in [] if module is None else module.named_parameters():
            if not name.endswith(".weight"):
                continue
            layer = name.removesuffix(".weight")
            place = f"{network}.{layer}"
            flat = layer.replace(".", "_")
            prefixes = PREFIXES.get(network, ("lora_unet_",))
            assert all(names[layer_name(f"{prefix}{flat}")] == place for prefix in prefixes)
            assert names[layer_name(f"{network}.{layer}")] == place
            assert names[layer_name(f"base_model.model.{network}.{layer}")] == place
    original = original_tensors(structure, make_networks(structure))
    for key in original:
        layer = key.replace("in_proj_weight", "in_proj.weight").removesuffix(".weight")
        if not key.endswith("weight") or "first_stage_model" in key or is_in_dropped_layer(key, structure):
            continue
        name = layer_name(layer)
        assert name in fused if "in_proj" in key else name in names, key


def is_in_dropped_layer(key: str, structure: Structure) -> bool:
    """SD 2's text encoder is used without its last layer."""
    return structure.family == "sd2" and f"resblocks.{structure.text_layers - 1}." in key


def test_the_text_projection_is_that_of_the_second_encoder(other: tuple[Model, Structure]) -> None:
    model, _ = other
    written = ("lora_te2_", "lora_te_", "lora_prior_te_", "text_encoder_2.", "text_encoders.clip_g.transformer.")
    found = {layer_names(model).get(layer_name(f"{prefix}text_projection")) for prefix in written}
    assert found == ({None} if model.text_encoder_2 is None else {"text_encoder_2.text_projection"})


def full_size() -> UNet2DConditionModel:
    """SDXL's UNet without its weights."""
    with torch.device("meta"):
        return UNet2DConditionModel(
            block_out_channels=(320, 640, 1280),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 2, 10),
            attention_head_dim=(5, 10, 20),
            cross_attention_dim=2048,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=2816,
        )


def test_sdxls_original_names_lead_where_diffusers_says_that_they_do() -> None:
    """Its own table for kohya's SDXL files is the oracle, over every layer of the full network."""
    unet = full_size()
    places = unet_places(name for name, _ in unet.named_parameters() if name.endswith(".weight"))
    inner = [name for name in places if name.startswith(("down_", "mid_", "up_")) and "resnets" not in name]
    inner += [name for name in places if "resnets" in name and "norm" not in name]  # which it does not know
    written = {f"lora_unet_{flat(places[name].name)}.alpha": name for name in inner}
    assert len(written) == len(inner) > 700
    for key, name in written.items():
        (theirs,) = _maybe_map_sgm_blocks_to_diffusers({key: 0}, unet.config)
        found = flat(_convert_unet_lora_key(theirs.removesuffix(".alpha")))
        assert found.replace("processor_", "") == flat(name)  # it names attentions' layers as processors had them


def flat(name: str) -> str:
    return name.removesuffix(".weight").replace(".", "_")
