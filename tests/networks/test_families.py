"""Networks on models of the other families: SD 2, SDXL and its refiner, inpainting and instruct-pix2pix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from modules.models import Model, Pass, load, patched
from modules.networks import NetworkMisfit, describe_partial, load_lora
from tests.models.small import FAMILIES, write

from .conftest import distance

Load = Callable[[str], Model]


@pytest.fixture(scope="module")
def model_of(tmp_path_factory: pytest.TempPathFactory) -> Load:
    folder = tmp_path_factory.mktemp("models")
    loaded: dict[str, Model] = {}

    def get(name: str) -> Model:
        if name not in loaded:
            write(folder / f"{name}.safetensors", FAMILIES[name])
            loaded[name] = load(folder / f"{name}.safetensors")
        return loaded[name]

    return get


def lora(path: Path, **shapes: tuple[int, int]) -> Path:
    """A LoRA of rank 2 over layers of (out, in)."""
    torch.manual_seed(6)
    tensors = {}
    for name, (rows, columns) in shapes.items():
        tensors |= {f"{name}.lora_up.weight": torch.randn(rows, 2), f"{name}.lora_down.weight": torch.randn(2, columns)}
        tensors[f"{name}.alpha"] = torch.tensor(1.0)
    save_file(tensors, path)
    return path


SDXL_LAYERS = {
    "lora_unet_input_blocks_3_1_transformer_blocks_0_attn1_to_q": (
        (64, 64),
        "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q",
    ),
    "lora_unet_down_blocks_2_attentions_0_transformer_blocks_1_attn1_to_q": (
        (128, 128),
        "unet.down_blocks.2.attentions.0.transformer_blocks.1.attn1.to_q",
    ),
    "lora_unet_middle_block_1_transformer_blocks_0_attn2_to_k": (
        (128, 96),
        "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k",
    ),
    "lora_te1_text_model_encoder_layers_1_self_attn_v_proj": (
        (32, 32),
        "text_encoder.encoder.layers.1.self_attn.v_proj",
    ),
    "lora_te2_text_model_encoder_layers_2_mlp_fc1": (
        (192, 64),
        "text_encoder_2.text_model.encoder.layers.2.mlp.fc1",
    ),
    "lora_te2_text_projection": ((48, 64), "text_encoder_2.text_projection"),
}


def weight(model: Model, place: str) -> torch.Tensor:
    network, _, path = place.partition(".")
    return getattr(model, network).get_submodule(path).weight


def test_an_sdxl_lora_changes_both_text_encoders_and_the_unet(model_of: Load, tmp_path: Path) -> None:
    """D042: under both systems of block names."""
    model = model_of("sdxl")
    read = load_lora(lora(tmp_path / "xl.safetensors", **{name: shape for name, (shape, _) in SDXL_LAYERS.items()}))
    assert read.family == "sdxl"
    patches, unmatched = read.patches(model, 0.5, 0.25)
    assert unmatched == ()
    before = {place: weight(model, place).clone() for _, place in SDXL_LAYERS.values()}
    with patched(model, patches):
        for name, (_, place) in SDXL_LAYERS.items():
            change = read.layers[name].weight_delta(before[place], 0.25 if place.startswith("unet") else 0.5, None)
            assert distance(weight(model, place), before[place] + change) < 1e-6
    assert all(torch.equal(weight(model, place), was) for place, was in before.items())


@torch.inference_mode()
def answers(model: Model) -> list[torch.Tensor]:
    """What both text encoders and the UNet make of one fixed input."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.tensor([[49406, 320, 2368, 49407]])
    x, context = torch.randn(1, 4, 8, 8, generator=generator), torch.randn(1, 77, 96, generator=generator)
    added = {
        "text_embeds": torch.randn(1, 48, generator=generator),
        "time_ids": torch.tensor([[64.0, 64, 0, 0, 64, 64]]),
    }
    assert model.text_encoder is not None and model.text_encoder_2 is not None
    return [
        model.text_encoder(tokens).last_hidden_state,
        model.text_encoder_2(tokens).text_embeds,
        model.unet(x, torch.tensor(500), encoder_hidden_states=context, added_cond_kwargs=added).sample,
    ]


def test_an_sdxl_lora_of_the_negative_prompt_acts_on_its_pass_alone(model_of: Load, tmp_path: Path) -> None:
    """P057: in the UNet and in both text encoders."""
    model = model_of("sdxl")
    read = load_lora(lora(tmp_path / "xl.safetensors", **{name: shape for name, (shape, _) in SDXL_LAYERS.items()}))
    bare = answers(model)
    with patched(model, read.patches(model, 0.7).patches) as live:
        assert not live.splits_guidance
        everywhere = answers(model)
    with patched(model, read.patches(model, 0.7, on=Pass.UNCOND).patches) as live:
        assert live.splits_guidance
        assert all(map(torch.equal, answers(model), bare))
        with live.on(Pass.UNCOND):
            assert all(map(torch.equal, answers(model), everywhere))
        assert all(map(torch.equal, answers(model), bare))
    assert not any(map(torch.equal, bare, everywhere))
    assert all(map(torch.equal, answers(model), bare))


def fused(parts: dict[str, torch.Tensor], suffix: str) -> dict[str, torch.Tensor]:
    return {
        f"text_encoders.clip_h.transformer.resblocks.0.attn.{suffix}.{name}": tensor for name, tensor in parts.items()
    }


@pytest.mark.parametrize("suffix", ["in_proj", "in_proj_weight"])
def test_what_openclip_fuses_is_three_layers_here(suffix: str, model_of: Load, tmp_path: Path) -> None:
    """D042: a file over the fused matrix changes query, key and value by their thirds of its rows."""
    model = model_of("sd2")
    torch.manual_seed(2)
    kinds = {
        "lora": {"lora_up.weight": torch.randn(192, 2), "lora_down.weight": torch.randn(2, 64)},
        "loha": {
            f"hada_w{i}_{s}": torch.randn(*shape) for i in (1, 2) for s, shape in (("a", (192, 2)), ("b", (2, 64)))
        },
        "full": {"diff": torch.randn(192, 64), "diff_b": torch.randn(192)},
        "ia3": {"weight": torch.randn(192), "on_input": torch.tensor(False)},
        "oft": {"oft_blocks": torch.randn(12, 16, 16) * 0.1},
    }
    layers = [model.text_encoder.encoder.layers[0].self_attn.get_submodule(f"{part}_proj") for part in "qkv"]
    whole = torch.cat([layer.weight for layer in layers])
    bias = torch.cat([layer.bias for layer in layers])
    for name, parts in kinds.items():
        save_file(fused(parts, suffix), tmp_path / f"{name}.safetensors")
        read = load_lora(tmp_path / f"{name}.safetensors")
        (layer,) = read.layers.values()
        patches, unmatched = read.patches(model, 0.5)
        assert unmatched == ()
        with patched(model, patches):
            got = torch.cat([layer.weight for layer in layers])
            assert distance(got, whole + layer.weight_delta(whole, 0.5, None)) < 1e-6, name
            if layer.bias is not None:
                assert distance(torch.cat([layer.bias for layer in layers]), bias + 0.5 * layer.bias) < 1e-6


def test_what_needs_all_of_a_fused_matrix_is_named_as_not_fitting(model_of: Load, tmp_path: Path) -> None:
    dora = {
        "lora_up.weight": torch.ones(192, 2),
        "lora_down.weight": torch.ones(2, 64),
        "dora_scale": torch.ones(1, 64),
    }
    save_file(fused(dora, "in_proj"), tmp_path / "dora.safetensors")
    with pytest.raises(NetworkMisfit, match="none of its 1 layers fits"):
        load_lora(tmp_path / "dora.safetensors").patches(model_of("sd2"))


@pytest.mark.parametrize("name", ["sd1_inpaint", "sd1_pix2pix", "sdxl_inpaint", "sdxl_pix2pix", "sd2_inpaint"])
def test_a_first_layer_that_reads_more_is_changed_in_its_latent_channels(
    name: str, model_of: Load, tmp_path: Path
) -> None:
    """D043: the difference is padded with zeros, in the file of any kind."""
    model = model_of(name)
    width = FAMILIES[name].widths[0]
    down, up = torch.randn(2, 4, 3, 3), torch.randn(width, 2, 1, 1)
    save_file(
        {"lora_unet_conv_in.lora_up.weight": up, "lora_unet_conv_in.lora_down.weight": down}, tmp_path / "a.safetensors"
    )
    save_file({"lora_unet_conv_in.diff": torch.randn(width, 4, 3, 3)}, tmp_path / "b.safetensors")
    before = model.unet.conv_in.weight.clone()
    for file in "ab":
        patches, unmatched = load_lora(tmp_path / f"{file}.safetensors").patches(model)
        assert unmatched == ()
        with patched(model, patches):
            changed = model.unet.conv_in.weight
            assert torch.equal(changed[:, 4:], before[:, 4:])
            assert not torch.equal(changed[:, :4], before[:, :4])


def test_a_refiner_takes_what_an_sdxl_lora_has_for_it_and_names_the_rest(model_of: Load, tmp_path: Path) -> None:
    read = load_lora(lora(tmp_path / "xl.safetensors", **{name: shape for name, (shape, _) in SDXL_LAYERS.items()}))
    patches, unmatched = read.patches(model_of("sdxl_refiner"))
    assert {patch.target.partition(".")[0] for patch in patches} >= {"text_encoder_2"}
    assert "lora_te1_text_model_encoder_layers_1_self_attn_v_proj" in unmatched
    assert describe_partial("lora", "xl", unmatched, len(read.layers)).startswith('LoRA "xl" was applied in part')


READER = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k"


@pytest.mark.parametrize(
    ("name", "shape", "on", "sentence"),
    [
        ("lora_te2_text_projection", (1280, 1280), "sd2", "made for SDXL, this is an SD 2 model"),
        (READER, (1280, 768), "sdxl", "made for SD 1, this is an SDXL model"),
        (READER, (1280, 1024), "sdxl", "made for SD 2, this is an SDXL model"),
        (READER, (1280, 768), "sdxl_refiner", "made for SD 1, this is an SDXL refiner model"),
    ],
)
def test_another_familys_lora_names_both(
    name: str, shape: tuple[int, int], on: str, sentence: str, model_of: Load, tmp_path: Path
) -> None:
    """D044"""
    with pytest.raises(NetworkMisfit, match=sentence):
        load_lora(lora(tmp_path / "style.safetensors", **{name: shape})).patches(model_of(on))


def test_words_bundled_for_sdxl_have_vectors_for_both_encoders(model_of: Load, tmp_path: Path) -> None:
    # D045
    """D045: `bundle_emb.<word>.clip_l` and `.clip_g`."""
    path = lora(tmp_path / "pivotal.safetensors", **{name: shape for name, (shape, _) in SDXL_LAYERS.items()})
    words = {f"bundle_emb.my word.{part}": torch.randn(3, width) for part, width in (("clip_l", 32), ("clip_g", 64))}
    save_file(load_file(path) | words, path)
    read = load_lora(path)
    assert read.patches(model_of("sdxl")).unmatched == ()
    (word,) = read.embeddings
    assert word.name == "my word"
    fitted = word.fitted(model_of("sdxl"))
    assert torch.equal(fitted["clip_l"], words["bundle_emb.my word.clip_l"])
    assert torch.equal(fitted["clip_g"], words["bundle_emb.my word.clip_g"])
