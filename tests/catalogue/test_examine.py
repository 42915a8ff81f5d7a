"""What a file's contents tell, and how a file that cannot be used says so."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from modules.catalogue import KINDS, Kind
from modules.catalogue.examine import examine, full_metadata

from .files import EMBEDDING, LORA, SD1, Shapes, archived, tensor, text, write_tensors
from .test_pickles import Calls, zipped

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
SD2 = {
    "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (4, 1024),
    "cond_stage_model.model.positional_embedding": (77, 4),
}
SDXL = {
    "model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": (4, 2048),
    "conditioner.embedders.0.transformer.text_model.final_layer_norm.weight": (4,),
}


def lora(width: int, name: str = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k") -> Shapes:
    return {f"{name}.lora_down.weight": (2, width), f"{name}.lora_up.weight": (4, 2)}


@pytest.mark.parametrize(("tensors", "family", "width"), [(SD1, "sd1", 768), (SD2, "sd2", 1024), (SDXL, "sdxl", 2048)])
def test_a_checkpoints_family_is_read_from_its_tensors(
    tensors: Shapes, family: str, width: int, tmp_path: Path
) -> None:
    facts = examine("checkpoint", write_tensors(tmp_path / "a.safetensors", tensors))
    assert (facts.family, facts.width, facts.error) == (family, width, None)


def test_a_narrow_checkpoint_is_known_by_its_layout() -> None:
    facts = examine("checkpoint", GOLDEN / "model/tiny_sd1.safetensors")
    assert (facts.family, facts.width) == ("sd1", 64)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("128x128", (128, 128)),
        ("768x512", (768, 512)),
        ("1024", (1024, 1024)),
        *((text, None) for text in ("", "x", "big", "-1", "7x512", "1x2x3", "0x100000", "8193", "512x99999999")),
    ],
)
def test_the_native_size_comes_from_the_metadata(text: str, size: tuple[int, int] | None, tmp_path: Path) -> None:
    path = write_tensors(tmp_path / "a.safetensors", SD1, {"modelspec.resolution": text})
    assert examine("checkpoint", path).native_size == size


@pytest.mark.parametrize(
    ("text", "scale"), [("3", 3.0), ("2.5", 2.5), *((text, None) for text in ("nan", "inf", "-1", "much"))]
)
def test_the_guidance_scale_comes_from_the_metadata(text: str, scale: float | None, tmp_path: Path) -> None:
    path = write_tensors(tmp_path / "a.safetensors", SD1, {"tagbrush.cfg_scale": text})
    assert examine("checkpoint", path).cfg_scale == scale


@pytest.mark.parametrize(
    ("tensors", "metadata", "family"),
    [
        (lora(768), {}, "sd1"),
        (lora(1024), {}, "sd2"),
        (lora(2048), {}, "sdxl"),
        (lora(96), {}, ""),
        (lora(96), {"ss_base_model_version": "sd_v1"}, "sd1"),
        (lora(768), {"ss_base_model_version": "sdxl_base_v1-0"}, "sdxl"),
        (lora(768), {"ss_v2": "True", "ss_base_model_version": "sd_v2"}, "sd2"),
        (lora(768), {"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}, "sdxl"),
        (lora(768, "lora_te2_text_model_encoder_layers_0_mlp_fc1"), {}, "sdxl"),
        ({"unet.down_blocks.0.attentions.0.attn2.to_k.lora_A.weight": (2, 768)}, {}, "sd1"),
    ],
)
def test_a_loras_family_is_what_its_trainer_wrote_or_its_shapes_show(
    tensors: Shapes, metadata: Mapping[str, str], family: str, tmp_path: Path
) -> None:
    # D047
    assert examine("lora", write_tensors(tmp_path / "a.safetensors", tensors, metadata)).family == family


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("lora/*")), ids=lambda path: path.name)
def test_every_kind_of_lora_in_the_reference_can_be_used(path: Path) -> None:
    assert examine("lora", path).error is None


REFERENCE = json.loads((GOLDEN / "cond.json").read_text())["embeddings"]["loaded"]


@pytest.mark.parametrize("name", REFERENCE)
def test_vectors_and_width_of_embeddings_are_the_references(name: str) -> None:
    # D031
    facts = examine("embedding", GOLDEN / "embeddings" / REFERENCE[name]["file"])
    assert (facts.vectors, facts.width) == (REFERENCE[name]["vectors"], REFERENCE[name]["shape"])


@pytest.mark.parametrize("name", ["filetext.png", "filestego.png"])
def test_an_embedding_in_a_picture_has_its_inner_name(name: str) -> None:
    # D031
    facts = examine("embedding", GOLDEN / "embeddings" / name)
    assert REFERENCE[facts.inner_name]["file"] == name
    assert facts.metadata["step"] == "7"


def test_a_picture_without_an_embedding_is_none_and_no_fault() -> None:
    # D031
    facts = examine("embedding", GOLDEN / "embeddings/justpreview.png")
    assert (facts.is_none, facts.error) == (True, None)


def test_an_embedding_for_two_encoders_is_of_sdxl() -> None:
    facts = examine("embedding", GOLDEN / "embeddings/xlstyle.safetensors")
    # P095: together as wide as what SDXL's cross-attention reads, 768 + 1280 in a full model
    assert (facts.family, facts.vectors, facts.width) == ("sdxl", 2, 64 + 128)


def test_an_embedding_with_two_terms_is_refused() -> None:
    # D031
    assert "2 terms" in (examine("embedding", GOLDEN / "embeddings/twokeys.safetensors").error or "")


def test_an_old_parameter_dict_is_an_embedding(tmp_path: Path) -> None:
    # D031
    parameters = b"ctorch.nn.modules.container\nParameterDict\n)\x81}" + text("_parameters") + b"}" + text("*")
    path = archived(tmp_path / "old.pt", b"}" + text("string_to_param") + parameters + tensor(2, 768) + b"ssbs")
    facts = examine("embedding", path)
    assert (facts.vectors, facts.width, facts.error) == (2, 768, None)


def test_a_checkpoint_wrapped_in_a_training_state_is_known(tmp_path: Path) -> None:
    # D015
    state = b"".join(text(name) + tensor(*shape) + b"s" for name, shape in SD1.items())
    callbacks = b"}cpytorch_lightning.callbacks.model_checkpoint\nModelCheckpoint\n}s"
    wrapped = b"}" + text("state_dict") + b"}" + state + b"s" + text("callbacks") + callbacks + b"s"
    facts = examine("checkpoint", archived(tmp_path / "a.ckpt", wrapped))
    assert (facts.family, facts.width, facts.error) == ("sd1", 768, None)


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("hypernetworks/*")), ids=lambda path: path.name)
def test_every_hypernetwork_of_the_reference_can_be_used(path: Path) -> None:
    # D050
    assert examine("hypernetwork", path).error is None


def test_a_hypernetworks_training_is_its_metadata() -> None:
    # D050
    notes = examine("hypernetwork", GOLDEN / "hypernetworks/h_elu_drop_last_ln.pt").metadata
    assert notes == {
        "step": "10",
        "name": "h_elu_drop_last_ln",
        "layer_structure": "1, 1.5, 1.5, 1",
        "activation_func": "elu",
        "is_layer_norm": "True",
        "weight_initialization": "Normal",
        "activate_output": "False",
        "use_dropout": "True",
        "dropout_structure": "0, 0.3, 0.3, 0",
        "last_layer_dropout": "True",
    }


@pytest.mark.parametrize(
    ("widths", "family"), [((320, 640, 768, 1280), "sd1"), ((1024,), "sd2"), ((2048,), "sdxl"), ((320, 640), "")]
)
def test_a_hypernetworks_family_is_told_by_its_widths(widths: tuple[int, ...], family: str, tmp_path: Path) -> None:
    # D050
    layers = {f"{width}.0.linear.0.weight": (2, 2) for width in widths}
    assert examine("hypernetwork", write_tensors(tmp_path / "a.safetensors", layers)).family == family


def test_a_networks_own_notes_are_its_metadata() -> None:
    assert examine("embedding", GOLDEN / "embeddings/tipt3.pt").metadata["step"] == "500"


@pytest.mark.parametrize(
    ("kind", "tensors", "advice"),
    [
        ("lora", SD1, "models/Stable-diffusion"),
        ("checkpoint", LORA, "models/Lora"),
        ("embedding", LORA, "models/Lora"),
        ("embedding", SD1, "models/Stable-diffusion"),
        ("checkpoint", EMBEDDING, "Its place is embeddings"),
        ("checkpoint", {"other": (3,)}, "no Stable Diffusion"),
        ("vae", EMBEDDING, "no VAE"),
        ("lora", {}, "no tensors"),
        ("embedding", {}, "no embedding"),
    ],
)
def test_a_file_in_the_wrong_folder_says_where_it_belongs(
    kind: Kind, tensors: Shapes, advice: str, tmp_path: Path
) -> None:
    assert advice in (examine(kind, write_tensors(tmp_path / "a.safetensors", tensors)).error or "")


@pytest.mark.parametrize("kind", KINDS)
def test_a_pickle_that_would_run_code_is_an_entry_with_an_error(kind: Kind, tmp_path: Path) -> None:
    assert "run code" in (examine(kind, zipped(tmp_path / "a.pt", Calls(print, "x"))).error or "")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("contents", [[1], "text", {"a": 1}, {}, {5: "x", "y": None}, {"state_dict": 3}])
def test_a_pytorch_file_of_something_else_gives_facts_and_no_crash(
    kind: Kind, contents: object, tmp_path: Path
) -> None:
    examine(kind, zipped(tmp_path / "a.pt", contents))


def test_long_metadata_is_left_out_and_can_be_had_in_full(tmp_path: Path) -> None:
    # D016
    written = {"ss_output_name": "a", "ss_tag_frequency": "x" * 1000, "ssmd_cover_images": "[]"}
    path = write_tensors(tmp_path / "a.safetensors", LORA, written)
    facts = examine("lora", path)
    assert (dict(facts.metadata), facts.has_cover) == ({"ss_output_name": "a"}, True)
    assert full_metadata(path) == {"ss_output_name": "a", "ss_tag_frequency": "x" * 1000}


def test_a_diffusers_folder_is_known_by_its_configuration(tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet/config.json").write_text('{"cross_attention_dim": 768, "sample_size": 64}')
    facts = examine("checkpoint", tmp_path)
    assert (facts.family, facts.native_size, facts.width) == ("sd1", (512, 512), 768)


def test_a_diffusers_folder_without_its_unet_says_so(tmp_path: Path) -> None:
    assert "unet/config.json" in (examine("checkpoint", tmp_path).error or "")
