"""A file that is no usable checkpoint is refused with its name, what it is, and what to do."""

from __future__ import annotations

import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from modules.models import load
from modules.params import BadFile
from tests.models import small
from tests.models.small import FAMILIES, Structure

UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer."
Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Tensors:
    path = tmp_path_factory.mktemp("good") / "good.safetensors"
    small.write(path, Structure())
    return small.read(path)


def refused(path: Path, *words: str, vae: Path | None = None) -> None:
    with pytest.raises(BadFile) as raised:
        load(path, vae=vae)
    message = str(raised.value)
    assert message.startswith((path if vae is None else vae).name), message
    assert not [word for word in words if word not in message], message


def save(folder: Path, tensors: Tensors, **metadata: str) -> Path:
    path = folder / "bad.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, Structure().metadata() | metadata)
    return path


def test_a_truncated_safetensors(good: Tensors, tmp_path: Path) -> None:
    path = save(tmp_path, good)
    whole = path.read_bytes()
    for length in (len(whole) - 1, len(whole) // 2, 100, 8, 3, 0):
        path.write_bytes(whole[:length])
        refused(path, "cut short", "Download it again")


def test_a_safetensors_whose_header_lies(tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    for header in (
        b"not json",
        json.dumps({"x": {"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 4]}}).encode(),
        json.dumps({"x": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}).encode(),
    ):
        path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 4)
        refused(path, "damaged")
    path.write_bytes(struct.pack("<Q", 2**60) + b"{}")
    refused(path, "damaged")


def test_a_zip_that_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "bad.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("photo.txt", "hello")
    refused(path, "zip")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x02", b"PK\x03\x04 and nothing"], ids=repr)
def test_a_file_that_is_nothing_at_all(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.ckpt"
    path.write_bytes(content)
    refused(path, "Download it again")


class RunsCode:
    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (str(self.witness),)


@pytest.mark.parametrize("form", ["zip", "legacy", "plain pickle"])
def test_a_pickle_that_would_run_code_is_not_opened(tmp_path: Path, form: str) -> None:
    path, witness = tmp_path / "bad.ckpt", tmp_path / "ran"
    content = {"state_dict": {"weight": RunsCode(witness)}}
    if form == "plain pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    refused(path)
    assert not witness.exists()


def test_a_pickle_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "bad.pt"
    contents = ([1, 2], {"a": 1}, torch.zeros(2), {3: torch.ones(1)})
    for content, word in zip(contents, ("list", "no weights", "Tensor", "no weights"), strict=True):
        torch.save(content, path)
        refused(path, word)


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_a_state_dict_inside_itself(tmp_path: Path, form: str) -> None:
    path = tmp_path / "bad.ckpt"
    inside_itself: dict[str, object] = {}
    inside_itself["state_dict"] = inside_itself
    wrapped: dict[str, object] = {"weight": torch.zeros(1)}
    for _ in range(20):
        wrapped = {"state_dict": wrapped}
    for content in (wrapped, inside_itself):  # in this order: whoever follows the first to its end never ends here
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
        refused(path, "no weights by name")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([f"{UNET}input_blocks.0.1.weight", "cond_stage_model.roberta.pooler.weight"], ["AltDiffusion"]),
        ([f"{UNET}input_blocks.0.1.weight", "depth_model.model.x"], ["SD 2 depth"]),
        ([f"{UNET}input_blocks.0.1.weight", "noise_augmentor.data_mean"], ["unCLIP"]),
        ([f"{UNET}input_blocks.0.1.weight", "edm_mean", "edm_std"], ["Playground"]),
        ([f"{UNET}input_blocks.0.1.weight", "edm_vpred.sigma_max"], ["CosXL"]),
        ([f"{UNET}input_blocks.1.0.time_stack.in_layers.0.bias"], ["Stable Video Diffusion"]),
        ([f"{UNET}input_blocks.0.1.weight", "cc_projection.weight"], ["Zero-1-to-3"]),
        ([f"{UNET}input_blocks.0.1.weight"], ["unknown kind"]),
        (["cond_stage_model.model.positional_embedding"], ["none of the UNet's weights"]),
        ([f"{UNET}joint_blocks.0.x_block.attn.qkv.weight"], ["Stable Diffusion 3"]),
        (["double_blocks.0.img_attn.qkv.weight"], ["Flux"]),
        (["lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight"], ["a LoRA", "models/Lora"]),
        (["unet.mid_block.attentions.0.to_k.lora_A.weight"], ["a LoRA", "models/Lora"]),
        (["control_model.input_blocks.0.0.weight"], ["ControlNet"]),
        (["emb_params"], ["embedding", "embeddings"]),
        (["decoder.conv_in.weight", "encoder.conv_in.weight"], ["a VAE", "models/VAE"]),
        (["down_blocks.0.resnets.0.conv1.weight"], ["diffusers"]),
        (["something.weight"], ["no Stable Diffusion checkpoint"]),
    ],
    ids=lambda value: value[0],
)
def test_another_kind_of_file_is_named(tmp_path: Path, names: list[str], words: list[str]) -> None:
    refused(save(tmp_path, {name: torch.zeros(1) for name in names}), *words)


@pytest.mark.parametrize(("channels", "words"), [(5, ["depth"]), (7, ["reads 7 channels", "9 (inpainting)"])])
def test_a_unet_that_reads_other_channels_is_named(
    good: Tensors, tmp_path: Path, channels: int, words: list[str]
) -> None:
    name = f"{UNET}input_blocks.0.0.weight"
    refused(save(tmp_path, good | {name: torch.zeros(good[name].shape[0], channels, 3, 3)}), *words)


@pytest.mark.parametrize(("family", "width"), [("sd1", 768), ("sd2", 1024), ("sdxl", 2048), ("sdxl_refiner", 1280)])
def test_a_missing_text_encoder_is_named_with_the_remedy(
    good: Tensors, tmp_path: Path, family: str, width: int
) -> None:
    tensors = {name: tensor for name, tensor in good.items() if not name.startswith(TEXT)}
    key = f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
    path = save(tmp_path, tensors | {key: torch.zeros(16, width)})
    refused(path, "no text encoder", "full checkpoint")


def test_an_sdxl_without_its_second_text_encoder_says_which(tmp_path: Path) -> None:
    structure = FAMILIES["sdxl"]
    tensors = small.original_tensors(structure, small.make_networks(structure))
    lacking = {name: value for name, value in tensors.items() if not name.startswith("conditioner.embedders.1.")}
    refused(save(tmp_path, lacking), "second text encoder (OpenCLIP bigG)")
    other = {name: value for name, value in tensors.items() if not name.startswith("conditioner.embedders.0.")}
    refused(save(tmp_path, other), "no text encoder")


def test_a_missing_vae_is_named_with_the_remedy(good: Tensors, tmp_path: Path) -> None:
    tensors = {name: tensor for name, tensor in good.items() if not name.startswith(VAE)}
    refused(save(tmp_path, tensors), "no VAE", "models/VAE")


@pytest.mark.parametrize("part", [UNET, VAE, f"{TEXT}text_model."])
def test_every_lacking_weight_is_noticed(good: Tensors, tmp_path: Path, part: str) -> None:
    names = [name for name in good if name.startswith(part) and not name.endswith("position_ids")]
    for name in names[:: max(len(names) // 6, 1)]:
        refused(save(tmp_path, {other: tensor for other, tensor in good.items() if other != name}))


@pytest.mark.parametrize("part", [UNET, VAE, f"{TEXT}text_model."])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (5, 7), (2, 2, 2, 2, 2)], ids=str)
def test_every_absurd_shape_is_noticed(good: Tensors, tmp_path: Path, part: str, shape: tuple[int, ...]) -> None:
    names = [name for name in good if name.startswith(part) and not name.endswith("position_ids")]
    for name in names[:: max(len(names) // 2, 1)]:
        refused(save(tmp_path, good | {name: torch.zeros(shape)}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("tagbrush.unet.heads", "0"),
        ("tagbrush.unet.heads", "seven"),
        ("tagbrush.unet.heads", "7"),
        ("tagbrush.unet.groups", "-32"),
        ("tagbrush.vae.groups", "99999999999"),
        ("tagbrush.clip.heads", "3"),
    ],
)
def test_metadata_that_cannot_be_meant_is_named(good: Tensors, tmp_path: Path, key: str, value: str) -> None:
    refused(save(tmp_path, good, **{key: value}), key)


@pytest.mark.parametrize(
    "text", ["{", "[1]", "model: {params: {parameterization: x0}}", "\x00", "a: " + "[" * 5000, "a: 2020-02-30"]
)
def test_a_yaml_that_says_nothing_sensible(good: Tensors, tmp_path: Path, text: str) -> None:
    path = save(tmp_path, good)
    path.with_suffix(".yaml").write_text(text, encoding="utf-8")
    if text == "[1]":
        load(path)
        return
    with pytest.raises(BadFile, match=r"bad\.yaml"):
        load(path)


LISTS_OF_LISTS = (
    "a0: &a0 [" + "x, " * 10 + "]\n" + "".join(f"a{n}: &a{n} [{f'*a{n - 1}, ' * 10}]\n" for n in range(1, 6))
)


@pytest.mark.parametrize("key", ["parameterization", "scale_factor"])
def test_a_yaml_that_would_fill_the_memory_is_named_in_few_words(good: Tensors, tmp_path: Path, key: str) -> None:
    path = save(tmp_path, good)
    path.with_suffix(".yaml").write_text(f"{LISTS_OF_LISTS}model: {{params: {{{key}: *a5}}}}", encoding="utf-8")
    with pytest.raises(BadFile, match=rf"bad\.yaml: says {key} = <list>,") as raised:
        load(path)
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize("word", ["x0", "sample", ""])
def test_a_prediction_type_that_means_nothing_is_as_none(good: Tensors, tmp_path: Path, word: str) -> None:
    path = save(tmp_path, good, **{"modelspec.prediction_type": word})
    assert load(path).prediction_type == "epsilon"
    path.with_suffix(".yaml").write_text("model: {params: {parameterization: v}}", encoding="utf-8")
    assert load(path).prediction_type == "v"


def test_what_is_left_of_a_vae_does_not_stand_in_the_way_of_another(good: Tensors, tmp_path: Path) -> None:
    path = tmp_path / "whole.safetensors"
    save_file(good, path, Structure().metadata())
    left = {name: tensor for name, tensor in good.items() if not name.startswith(f"{VAE}encoder.")}
    decoder_alone = save(tmp_path, left)
    refused(decoder_alone, "no VAE", "models/VAE")
    assert load(decoder_alone, vae=path).vae_path == path


def test_a_yaml_that_may_not_be_read(good: Tensors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path, good)
    path.with_suffix(".yaml").write_text("model: {}", encoding="utf-8")

    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(BadFile, match="Permission denied"):
        load(path)


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    refused(tmp_path / "gone.safetensors", "does not exist")


def test_a_vae_that_is_none(good: Tensors, tmp_path: Path) -> None:
    path = tmp_path / "good.safetensors"
    save_file(good, path, Structure().metadata())
    other = tmp_path / "lora.safetensors"
    save_file({"lora_unet_x.lora_down.weight": torch.zeros(1)}, other)
    refused(path, "a LoRA", vae=other)


@pytest.mark.parametrize(
    ("index", "words"),
    [
        (None, ["model_index.json"]),
        ("{", ["not JSON"]),
        ("[]", ["no configuration"]),
        ('{"_class_name": "StableDiffusion3Pipeline"}', ["StableDiffusion3Pipeline", "1, 2 and XL"]),
        ('{"_class_name": "StableDiffusionXLPipeline"}', ["config.json"]),
        ('{"_class_name": "StableDiffusionPipeline"}', ["config.json"]),
    ],
)
def test_a_folder_that_is_no_model(tmp_path: Path, index: str | None, words: list[str]) -> None:
    if index is not None:
        (tmp_path / "model_index.json").write_text(index, encoding="utf-8")
    with pytest.raises(BadFile) as raised:
        load(tmp_path)
    assert all(word in str(raised.value) for word in words)


@pytest.mark.parametrize("names", [{}, [], {"a": 1}, {"a": ["x"]}, {"a": "../x"}], ids=str)
def test_a_folder_whose_index_names_no_files(tmp_path: Path, names: object) -> None:
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}', encoding="utf-8")
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet/config.json").write_text("{}", encoding="utf-8")
    index = tmp_path / "unet/diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": names}), encoding="utf-8")
    with pytest.raises(BadFile, match="names no files beside it"):
        load(tmp_path)
