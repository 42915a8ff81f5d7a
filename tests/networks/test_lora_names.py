"""Every way a file may name a layer leads to that layer of the model."""

from __future__ import annotations

import pytest

from modules.models import Model
from modules.networks.lora.names import LayerName, layer_name, layer_names, split_key

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
