"""Any SD 1.x checkpoint becomes the model that was saved in it."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from modules.models import Model, load
from modules.models.attention import PatchableAttention
from modules.params import BadFile
from tests.models import small
from tests.models.small import Networks, Structure

TEXT = "cond_stage_model.transformer."
STRUCTURES = {
    "two levels": Structure(),
    "sd1-like": Structure((8, 16, 24, 24), (True, True, True, False), layers=2, vae_layers=2, text_width=24),
    "attention below only": Structure((16, 16, 32), (False, False, True), depth=2, linear=True, heads=4),
    "no attention outside the middle": Structure((16, 32), (False, False), text_heads=1, text_layers=1),
}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a network call")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Networks]:
    path = tmp_path_factory.mktemp("saved") / "small.safetensors"
    return path, small.write(path, Structure())


def assert_same_weights(got: nn.Module, expected: nn.Module) -> None:
    got_state, expected_state = got.state_dict(), expected.state_dict()
    assert got_state.keys() == expected_state.keys()
    for name, tensor in expected_state.items():
        assert torch.equal(got_state[name], tensor), name


def assert_same_model(model: Model, networks: Networks) -> None:
    assert_same_weights(model.unet, networks.unet)
    assert_same_weights(model.vae, networks.vae)
    assert_same_weights(model.text_encoder, networks.text_encoder)


def changed(path: Path, tensors: dict[str, torch.Tensor], to: Path, **metadata: str) -> Path:
    save_file(tensors, to, metadata=Structure().metadata() | metadata)
    return to


@pytest.mark.parametrize("structure", STRUCTURES.values(), ids=STRUCTURES)
def test_structure_and_weights_come_back_from_a_single_file(structure: Structure, tmp_path: Path) -> None:
    networks = small.write(tmp_path / "model.safetensors", structure)
    model = load(tmp_path / "model.safetensors")
    assert_same_model(model, networks)
    x, context = torch.randn(2, 4, 8, 8), torch.randn(2, 77, structure.text_width)
    tokens = torch.randint(0, 49408, (1, 77))
    with torch.inference_mode():
        # ours sums in A1111's order on a CPU: 2e-5 was measured
        same = {"atol": 1e-4, "rtol": 1e-4}
        torch.testing.assert_close(model.unet(x, 7, context).sample, networks.unet(x, 7, context).sample, **same)
        torch.testing.assert_close(model.vae.decode(x).sample, networks.vae.decode(x).sample, **same)
        got, expected = (part(tokens).last_hidden_state for part in (model.text_encoder, networks.text_encoder))
        torch.testing.assert_close(got, expected)


def test_metadata_tells_what_shapes_cannot(saved: tuple[Path, Networks]) -> None:
    model = load(saved[0])
    assert model.prediction_type == "v"
    assert model.family == "sd1"


def test_a_yaml_beside_the_file_overrides_its_metadata(saved: tuple[Path, Networks], tmp_path: Path) -> None:
    path = changed(saved[0], small.read(saved[0]), tmp_path / "model.safetensors")
    params = {"parameterization": "eps", "unet_config": {"params": {"num_heads": 4}}}
    path.with_suffix(".yaml").write_text(json.dumps({"model": {"params": params}}), encoding="utf-8")
    model = load(path)
    assert model.prediction_type == "epsilon"
    assert {module.heads for module in model.unet.modules() if hasattr(module, "heads")} == {4}


PLAIN = Structure((32, 32), groups=32, vae_widths=(32, 32, 32, 32), vae_groups=32, text_heads=1)
"""Whose head and group counts are those of SD 1.x, so that no metadata is needed."""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, torch.Tensor], Networks]:
    path = tmp_path_factory.mktemp("plain") / "plain.safetensors"
    networks = small.write(path, PLAIN)
    return small.read(path), networks


Plain = tuple[dict[str, torch.Tensor], Networks]


def test_without_metadata_a_file_is_sd1(plain: Plain, tmp_path: Path) -> None:
    tensors, networks = plain
    save_file(tensors, tmp_path / "bare.safetensors")
    model = load(tmp_path / "bare.safetensors")
    assert_same_model(model, networks)
    assert model.prediction_type == "epsilon"


def test_the_weights_are_ours_and_not_the_files(plain: Plain, tmp_path: Path) -> None:
    tensors, networks = plain
    path = tmp_path / "model.safetensors"
    save_file(tensors, path)
    model = load(path)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xff" * (path.stat().st_size // 2))
    assert_same_model(model, networks)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_dtype_is_that_of_every_weight(saved: tuple[Path, Networks], dtype: torch.dtype) -> None:
    model = load(saved[0], dtype=dtype)
    for module in (model.unet, model.vae, model.text_encoder):
        assert {parameter.dtype for parameter in module.parameters()} == {dtype}
        assert not any(parameter.requires_grad for parameter in module.parameters())
        assert not module.training
    assert model.alphas_cumprod.dtype is torch.float32


def test_every_attention_of_the_unet_is_the_models_own(saved: tuple[Path, Networks]) -> None:
    model = load(saved[0])
    processors = list(model.unet.attn_processors.values())
    assert processors
    assert all(processor is model.attention for processor in processors)
    assert isinstance(model.attention, PatchableAttention)


def lightning_key(monkeypatch: pytest.MonkeyPatch) -> type:
    """The class that PyTorch Lightning used as a key, for as long as a file is written."""
    module = ModuleType("pytorch_lightning.callbacks.model_checkpoint")
    module.ModelCheckpoint = type("ModelCheckpoint", (), {"__module__": module.__name__})
    monkeypatch.setitem(sys.modules, "pytorch_lightning", ModuleType("pytorch_lightning"))
    monkeypatch.setitem(sys.modules, "pytorch_lightning.callbacks", ModuleType("pytorch_lightning.callbacks"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module.ModelCheckpoint


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_training_checkpoint_with_old_names_and_leftovers(
    plain: Plain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool
) -> None:
    tensors, networks = plain
    weights = {name.replace(f"{TEXT}text_model.", TEXT): tensor for name, tensor in tensors.items()}
    del weights[f"{TEXT}embeddings.position_ids"]
    weights |= {f"model_ema.diffusion_modelweight{index}": torch.ones(1) for index in range(120)}
    weights["loss.logvar"] = torch.zeros(1)
    content = {"state_dict": weights, "global_step": 470_000}
    path = tmp_path / "model.ckpt"
    with monkeypatch.context() as lightning:
        content["callbacks"] = {lightning_key(lightning): {"best_model_score": np.float64(0.1), "monitor": "x"}}
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
    assert_same_model(load(path), networks)


def test_positions_are_counted_even_where_the_file_has_them_wrong(plain: Plain, tmp_path: Path) -> None:
    wrong = {f"{TEXT}text_model.embeddings.position_ids": torch.zeros(1, 77, dtype=torch.float16)}
    save_file(plain[0] | wrong, tmp_path / "model.safetensors")
    model = load(tmp_path / "model.safetensors")
    assert model.text_encoder.embeddings.position_ids.tolist() == [list(range(77))]


def test_the_schedule_of_the_file_is_used_as_it_is_rounded(plain: Plain, tmp_path: Path) -> None:
    usual = load_with(plain, tmp_path).alphas_cumprod
    other = torch.linspace(0.999, 0.001, 1000)
    assert torch.equal(load_with(plain, tmp_path, alphas_cumprod=other).alphas_cumprod, other)
    assert torch.equal(load_with(plain, tmp_path, alphas_cumprod=usual.half()).alphas_cumprod, usual.half().float())
    assert torch.equal(load_with(plain, tmp_path, alphas_cumprod=other.flip(0)).alphas_cumprod, usual)
    assert torch.equal(load_with(plain, tmp_path, alphas_cumprod=torch.ones(7)).alphas_cumprod, usual)


def test_a_key_named_v_pred_means_v_prediction(plain: Plain, tmp_path: Path) -> None:
    assert load_with(plain, tmp_path, v_pred=torch.zeros(0)).prediction_type == "v"


def load_with(plain: Plain, folder: Path, **more: torch.Tensor) -> Model:
    path = folder / "model.safetensors"
    save_file(plain[0] | more, path)
    return load(path)


VAE_PREFIX = "first_stage_model."


@pytest.mark.parametrize("layout", ["bare", "prefixed", "training", "diffusers", "old diffusers"])
def test_a_vae_of_its_own_replaces_the_checkpoints(plain: Plain, tmp_path: Path, layout: str) -> None:
    tensors, networks = plain
    original = {name.removeprefix(VAE_PREFIX): value for name, value in tensors.items() if name.startswith(VAE_PREFIX)}
    other = {name: value * 1.5 for name, value in original.items()}
    path = tmp_path / ("other.vae.pt" if layout == "training" else "other.vae.safetensors")
    if layout == "bare":
        save_file(other, path)
    elif layout == "prefixed":
        save_file({VAE_PREFIX + name: value for name, value in other.items()}, path)
    elif layout == "training":
        torch.save({"state_dict": other | {"loss.logvar": torch.zeros(1), "model_ema.decay": torch.zeros(1)}}, path)
    else:
        save_file(diffusers_vae(networks, old=layout == "old diffusers"), path)
    without = tmp_path / "unet.safetensors"
    save_file({name: value for name, value in tensors.items() if not name.startswith(VAE_PREFIX)}, without)
    model = load(without, vae=path)
    assert_same_weights(model.unet, networks.unet)
    for name, value in networks.vae.state_dict().items():
        assert torch.equal(model.vae.state_dict()[name], (value.half() * 1.5).float()), name


def diffusers_vae(networks: Networks, *, old: bool) -> dict[str, torch.Tensor]:
    names = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."} if old else {}
    renamed = {}
    for name, value in networks.vae.state_dict().items():
        for new_name, old_name in names.items():
            name = name.replace(new_name, old_name)
        renamed[name] = value.half() * 1.5
    return renamed


def write_folder(folder: Path, networks: Networks, *, prefixed: bool = False) -> None:
    networks.unet.save_pretrained(folder / "unet")
    networks.vae.save_pretrained(folder / "vae")
    networks.text_encoder.config.save_pretrained(folder / "text_encoder")
    names = networks.text_encoder.state_dict()
    text = {f"{'text_model.' * prefixed}{name}": value for name, value in names.items()}
    save_file(text, folder / "text_encoder" / "model.safetensors")
    (folder / "scheduler").mkdir()
    schedule = {"beta_schedule": "scaled_linear", "prediction_type": "v_prediction"}
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(schedule), encoding="utf-8")
    (folder / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}', encoding="utf-8")


@pytest.mark.parametrize("prefixed", [True, False])
def test_a_diffusers_folder(plain: Plain, tmp_path: Path, prefixed: bool) -> None:
    networks = plain[1]
    write_folder(tmp_path, networks, prefixed=prefixed)
    model = load(tmp_path)
    assert_same_model(model, networks)
    assert model.prediction_type == "v"
    assert model.text_encoder.embeddings.position_ids.tolist() == [list(range(77))]


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("unet", "block_out_channels", "wide"),
        ("unet", "down_block_types", ["NoSuchBlock", "DownBlock2D"]),
        ("unet", "block_out_channels", [32, 64]),
        ("unet", "cross_attention_dim", 1024),
        ("unet", "in_channels", 9),
        ("vae", "norm_num_groups", 7),
        ("vae", "scaling_factor", "large"),
        ("text_encoder", "num_attention_heads", -1),
        ("text_encoder", "hidden_act", "somewhere/on-the-hub"),
        ("scheduler", "beta_schedule", "squaredcos_cap_v2"),
        ("scheduler", "prediction_type", "sample"),
    ],
)
def test_a_folder_whose_configuration_makes_no_sense_is_refused(
    plain: Plain, tmp_path: Path, part: str, key: str, value: object
) -> None:
    write_folder(tmp_path, plain[1])
    name = "scheduler_config.json" if part == "scheduler" else "config.json"
    file = tmp_path / part / name
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | {key: value}), encoding="utf-8")
    with pytest.raises(BadFile):
        load(tmp_path)


@pytest.mark.parametrize("said", [{"_class_name": "EDMDPMSolverMultistepScheduler"}, {"sigma_data": 0.5}])
def test_a_folder_with_edm_noise_is_refused_as_a_file_is(plain: Plain, tmp_path: Path, said: dict[str, object]) -> None:
    write_folder(tmp_path, plain[1])
    file = tmp_path / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | said), encoding="utf-8")
    with pytest.raises(BadFile, match=r"SDXL with EDM noise .*, which Tagbrush does not draw with"):
        load(tmp_path)


def test_a_folder_cannot_name_code_to_fetch(plain: Plain, tmp_path: Path) -> None:
    write_folder(tmp_path, plain[1])
    file = tmp_path / "text_encoder" / "config.json"
    hostile = {
        "attn_implementation": "someone/kernel",
        "_attn_implementation": "someone/kernel",
        "auto_map": {"x": "y"},
    }
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | hostile), encoding="utf-8")
    assert_same_model(load(tmp_path), plain[1])
