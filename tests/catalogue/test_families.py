"""What a checkpoint is, told from names and shapes (D014, D018), and what is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.catalogue import TensorStub, architecture, refuse_others
from modules.catalogue.examine import examine
from modules.catalogue.families import Family, Prediction, Variant
from modules.params import BadFile

from .files import write_tensors

PATH = Path("model.safetensors")
UNET = "model.diffusion_model."
TO_K = f"{UNET}input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight"
TEXT_ENCODERS: dict[Family, str] = {
    "sd1": "cond_stage_model.transformer.text_model.final_layer_norm.weight",
    "sd2": "cond_stage_model.model.ln_final.weight",
    "sdxl": "conditioner.embedders.1.model.ln_final.weight",
    "sdxl_refiner": "conditioner.embedders.0.model.ln_final.weight",
}
WIDTHS: dict[Family, int] = {"sd1": 768, "sd2": 1024, "sdxl": 2048, "sdxl_refiner": 1280}


def shapes(family: Family, *, channels: int = 4, width: int | None = None, encoder: bool = True) -> dict[str, tuple]:
    """The tensors that tell most, of a checkpoint with a VAE."""
    found = {
        f"{UNET}input_blocks.0.0.weight": (320, channels, 3, 3),
        TO_K: (320, width or WIDTHS[family]),
        "first_stage_model.encoder.conv_in.weight": (128, 3, 3, 3),
        "first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3),
    }
    return found | ({TEXT_ENCODERS[family]: (width or 64,)} if encoder else {})


def stubs(shapes: dict[str, tuple]) -> dict[str, TensorStub]:
    return {name: TensorStub("F16", shape) for name, shape in shapes.items()}


@pytest.mark.parametrize("family", WIDTHS)
@pytest.mark.parametrize("width", [None, 48])
def test_the_family_is_told_by_the_text_encoders_place_whatever_the_width(family: Family, width: int | None) -> None:
    # D014
    assert architecture(PATH, stubs(shapes(family, width=width))).family == family


@pytest.mark.parametrize("family", WIDTHS)
def test_without_a_text_encoder_the_family_is_told_by_what_cross_attention_reads(family: Family) -> None:
    # D014
    found = architecture(PATH, stubs(shapes(family, encoder=False)))
    assert (found.family, found.missing) == (family, ("text encoder",))


@pytest.mark.parametrize("half", ["encoder", "decoder"])
def test_half_a_vae_is_none(half: str) -> None:
    # D014: what pruning or a merge left over
    tensors = shapes("sd1")
    del tensors[f"first_stage_model.{half}.conv_in.weight"]
    tensors["first_stage_model.quant_conv.weight"] = (8, 8, 1, 1)
    assert architecture(PATH, stubs(tensors)).missing == ("VAE",)


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
@pytest.mark.parametrize(("channels", "variant"), [(4, "base"), (9, "inpaint"), (8, "pix2pix")])
def test_inpainting_and_pix2pix_are_told_by_the_channels_that_the_unet_reads(
    family: Family, channels: int, variant: Variant
) -> None:
    # D014
    assert architecture(PATH, stubs(shapes(family, channels=channels))).variant == variant


@pytest.mark.parametrize(
    ("family", "marks", "metadata", "prediction"),
    [
        ("sd1", (), {}, "epsilon"),
        ("sd1", (), {"modelspec.prediction_type": "v"}, "v"),
        ("sdxl", (), {"modelspec.prediction_type": "vpred"}, "v"),
        ("sdxl", (), {"modelspec.prediction_type": "V-Prediction"}, "v"),
        ("sdxl", (), {"modelspec.prediction_type": "sample"}, "epsilon"),
        ("sd2", (), {"modelspec.prediction_type": "sample"}, None),
        ("sdxl", ("v_pred",), {"modelspec.prediction_type": "epsilon"}, "v"),
        ("sd2", (), {}, None),
        ("sd2", (), {"modelspec.architecture": "stable-diffusion-v2-768-v"}, "v"),
        ("sd2", (), {"modelspec.architecture": "stable-diffusion-v2-512"}, "epsilon"),
        ("sd2", (), {"modelspec.prediction_type": "epsilon"}, "epsilon"),
        ("sdxl", (), {}, "epsilon"),
        ("sdxl", ("v_pred",), {}, "v"),
        ("sdxl", ("v_pred", "ztsnr"), {}, "v"),
    ],
)
def test_v_prediction_and_zero_terminal_snr_are_told_by_marks_and_metadata(
    family: Family, marks: tuple[str, ...], metadata: dict[str, str], prediction: Prediction | None
) -> None:
    # D018
    found = architecture(PATH, stubs(shapes(family) | dict.fromkeys(marks, ())), metadata)
    assert (found.prediction, found.is_ztsnr) == (prediction, "ztsnr" in marks)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        (f"{UNET}joint_blocks.0.context_block.attn.qkv.weight", "Stable Diffusion 3"),
        (f"{UNET}double_blocks.0.img_attn.proj.weight", "Flux"),
        ("double_blocks.0.img_attn.proj.weight", "Flux"),
        ("cond_stage_model.roberta.embeddings.weight", "AltDiffusion"),
        ("embedder.model.visual.proj", "unCLIP"),
        ("depth_model.model.pretrained.weight", "SD 2 depth"),
    ],
)
def test_families_that_cannot_be_drawn_with_are_refused_by_name(name: str, what: str) -> None:
    with pytest.raises(BadFile, match=what):
        architecture(PATH, stubs(shapes("sd2") | {name: (1,)}))


def test_a_depth_model_is_known_by_its_fifth_channel() -> None:
    with pytest.raises(BadFile, match="depth"):
        architecture(PATH, stubs(shapes("sd2", channels=5)))


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("lora_unet_mid_block_attentions_0_proj_in.lora_down.weight", "models/Lora"),
        ("unet.mid_block.attentions.0.proj_in.lora_A.weight", "models/Lora"),
        ("control_model.input_blocks.0.0.weight", "models/ControlNet"),
        ("first_stage_model.decoder.conv_in.weight", "models/VAE"),
        ("decoder.conv_in.weight", "models/VAE"),
        ("down_blocks.0.resnets.0.conv1.weight", "model_index.json"),
        ("emb_params", "embeddings"),
        ("x", "none of the UNet"),
    ],
)
def test_another_kind_of_file_is_refused_with_its_place(name: str, what: str) -> None:
    with pytest.raises(BadFile, match=what):
        refuse_others(PATH, [name])


@pytest.mark.parametrize(
    ("metadata", "size"),
    [
        ({}, None),
        ({"modelspec.architecture": "stable-diffusion-v2-512"}, (512, 512)),
        ({"modelspec.architecture": "stable-diffusion-v2-768-v"}, (768, 768)),
        ({"modelspec.architecture": "stable-diffusion-v2-512", "modelspec.resolution": "640x640"}, (640, 640)),
    ],
)
def test_an_sd2_is_as_large_as_what_it_predicts_unless_it_says_its_size(
    metadata: dict[str, str], size: tuple[int, int] | None, tmp_path: Path
) -> None:
    # U001
    facts = examine("checkpoint", write_tensors(tmp_path / "a.safetensors", _small(shapes("sd2")), metadata))
    assert (facts.family, facts.native_size, facts.error) == ("sd2", size, None)


def _small(shapes: dict[str, tuple]) -> dict[str, tuple]:
    return {
        name: tuple(min(side, 1024) if name == TO_K else min(side, 4) for side in shape)
        for name, shape in shapes.items()
    }


@given(
    st.dictionaries(
        st.sampled_from([*TEXT_ENCODERS.values(), TO_K, f"{UNET}input_blocks.0.0.weight", "v_pred", "x", UNET]),
        st.lists(st.integers(0, 2**40), max_size=5).map(tuple),
    )
)
def test_no_shapes_are_too_odd_to_be_told_or_refused(found: dict[str, tuple]) -> None:
    try:
        architecture(PATH, stubs(found))
    except BadFile as error:
        assert error.reason
