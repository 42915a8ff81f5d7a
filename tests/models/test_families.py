"""Every family and variant, from every kind of file: the networks compute what diffusers' and transformers' own do."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import load_file, save_file

from modules.models import Model, load
from modules.params import BadFile
from tests.models import small
from tests.models.small import FAMILIES, OPENCLIP, SIZES, Networks, Structure

EXPECTED = {
    "sd1": ("sd1", "base", "epsilon"),
    "sd1_inpaint": ("sd1", "inpaint", "epsilon"),
    "sd1_pix2pix": ("sd1", "pix2pix", "epsilon"),
    "sd2": ("sd2", "base", "epsilon"),
    "sd2_v": ("sd2", "base", "v"),
    "sd2_inpaint": ("sd2", "inpaint", "epsilon"),
    "sdxl": ("sdxl", "base", "epsilon"),
    "sdxl_v": ("sdxl", "base", "v"),
    "sdxl_inpaint": ("sdxl", "inpaint", "epsilon"),
    "sdxl_pix2pix": ("sdxl", "pix2pix", "epsilon"),
    "sdxl_refiner": ("sdxl_refiner", "base", "epsilon"),
}


class Outputs(NamedTuple):
    """What the networks give for the same inputs."""

    noise: torch.Tensor
    states: torch.Tensor | None
    states_2: torch.Tensor | None
    pooled: torch.Tensor | None
    pixels: torch.Tensor
    moments: torch.Tensor


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> tuple[str, Structure, Networks]:
    structure = FAMILIES[request.param]
    return request.param, structure, small.make_networks(structure)


@torch.inference_mode()
def outputs(parts: Model | Networks, structure: Structure, *, skip: int = 0) -> Outputs:
    """`skip` layers are left out at the end of the first text encoder."""
    generator = torch.Generator().manual_seed(3)
    dtype = parts.unet.dtype
    x = torch.randn(2, structure.channels, 8, 8, generator=generator).to(dtype)
    context = torch.randn(2, 77, structure.context_width, generator=generator).to(dtype)
    added = {
        "text_embeds": torch.randn(2, structure.pooled_width, generator=generator).to(dtype),
        "time_ids": 1000 * torch.rand(2, SIZES.get(structure.family, 1), generator=generator),
    }
    tokens = torch.randint(0, 49406, (2, 77), generator=generator)
    tokens[:, 40] = 49407
    z = torch.randn(1, 4, 8, 8, generator=generator).to(dtype)
    picture = torch.randn(1, 3, 32, 32, generator=generator).to(dtype)
    first, second = parts.text_encoder, parts.text_encoder_2
    states = first(tokens, output_hidden_states=True).hidden_states[-1 - skip] if first is not None else None
    said = second(tokens, output_hidden_states=True) if second is not None else None
    return Outputs(
        noise=parts.unet(x, 500.25, context, added_cond_kwargs=added).sample,
        states=first.final_layer_norm(states) if first is not None else None,
        states_2=said.hidden_states[-2] if said is not None else None,
        pooled=said.text_embeds if said is not None else None,
        pixels=parts.vae.decode(z).sample,
        moments=parts.vae.encode(picture).latent_dist.parameters,
    )


def assert_same(model: Model, networks: Networks, structure: Structure, *, atol: float = 2e-5) -> None:
    """To where diffusers' order of sums and A1111's differ in float32, which is 9e-6 at most."""
    expected = outputs(networks, structure, skip=1 if structure.family == "sd2" else 0)
    for got, wanted in zip(outputs(model, structure), expected, strict=True):
        assert (got is None) == (wanted is None)
        if wanted is not None:
            torch.testing.assert_close(got.float(), wanted.float(), atol=atol, rtol=0)


@pytest.mark.parametrize("form", ["safetensors", "ckpt", "folder"])
def test_a_checkpoint_of_every_family_computes_what_its_networks_do(
    family: tuple[str, Structure, Networks], form: str, tmp_path: Path
) -> None:
    """D014, D015."""
    name, structure, networks = family
    path = tmp_path / f"model.{form}"
    if form == "folder":
        small.write_folder(path, structure, networks)
    else:
        small.write(path, structure, networks)
    model = load(path)
    kind, variant, prediction = EXPECTED[name]
    said_nowhere = form == "ckpt" and structure.prediction == "v"
    assert (model.family, model.variant) == (kind, variant)
    assert said_nowhere or model.prediction_type == prediction
    assert model.scale_factor == structure.scale_factor
    assert_same(model, networks, structure)


@pytest.mark.parametrize("name", ["sd2", "sdxl", "sdxl_refiner"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_files_of_every_precision(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    structure = FAMILIES[name]
    networks = small.make_networks(structure)
    for network in (networks.unet, networks.vae, networks.text_encoder, networks.text_encoder_2):
        if network is not None:
            network.to(dtype).float()
    small.write(tmp_path / "model.safetensors", structure, networks, dtype=dtype)
    assert_same(load(tmp_path / "model.safetensors"), networks, structure)


@pytest.mark.parametrize("name", ["sdxl", "sdxl_refiner"])
def test_a_file_made_from_a_folder_with_the_projection_as_transformers_has_it(name: str, tmp_path: Path) -> None:
    structure = FAMILIES[name]
    networks = small.make_networks(structure)
    tensors = small.original_tensors(structure, networks)
    key = f"{OPENCLIP[name]}text_projection"
    tensors[f"{key}.weight"] = tensors.pop(key).T.contiguous()
    save_file(tensors, tmp_path / "model.safetensors", metadata=structure.metadata())
    assert_same(load(tmp_path / "model.safetensors"), networks, structure)


def test_an_sd2_made_from_a_folder_lacks_the_last_layer_already(tmp_path: Path) -> None:
    structure = replace(FAMILIES["sd2"], text_layers=23)
    networks = small.write(tmp_path / "converted.safetensors", structure)
    expected, got = outputs(networks, structure), outputs(load(tmp_path / "converted.safetensors"), structure)
    torch.testing.assert_close(got.states, expected.states, atol=2e-5, rtol=0)
    whole = replace(structure, text_layers=24)
    networks = small.write(tmp_path / "original.safetensors", whole)
    assert_same(load(tmp_path / "original.safetensors"), networks, whole)


DISTILLED = {
    "like SSD-1B": replace(
        FAMILIES["sdxl"],
        layers=2,
        depth=(1, (2, 2), (4, 3)),
        depth_up=((3, 3, 2), (2, 1, 1), 1),
        has_middle_attention=False,
    ),
    "other depths up than down": replace(FAMILIES["sdxl"], depth=(2, (1,), (2,)), depth_up=((1, 3), (2, 1), 1)),
}


@pytest.mark.parametrize("structure", DISTILLED.values(), ids=DISTILLED)
def test_distilled_models_whose_attentions_differ_in_depth(structure: Structure, tmp_path: Path) -> None:
    networks = small.write(tmp_path / "model.safetensors", structure)
    assert_same(load(tmp_path / "model.safetensors"), networks, structure)


def test_a_middle_of_another_depth_than_the_level_around_it_is_refused(tmp_path: Path) -> None:
    structure = FAMILIES["sdxl"]
    tensors = small.original_tensors(structure, small.make_networks(structure))
    block = "model.diffusion_model.middle_block.1.transformer_blocks."
    deeper = {
        f"{block}2{name.removeprefix(block + '1')}": t for name, t in tensors.items() if name.startswith(block + "1")
    }
    small.write(tmp_path / "model.safetensors", structure, more=deeper)
    with pytest.raises(BadFile, match="middle is 3 layers deep"):
        load(tmp_path / "model.safetensors")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sdxl_in_half_precision_is_close(dtype: torch.dtype, tmp_path: Path) -> None:
    structure = FAMILIES["sdxl"]
    networks = small.write(tmp_path / "model.safetensors", structure)
    model = load(tmp_path / "model.safetensors", dtype=dtype)
    assert {parameter.dtype for parameter in model.text_encoder_2.parameters()} == {dtype}
    assert_same(model, networks, structure, atol=0.15)


@pytest.mark.parametrize("name", ["sd1", "sdxl"])
def test_leftovers_of_training_change_nothing(name: str, tmp_path: Path) -> None:
    """D015."""
    structure = FAMILIES[name]
    leftovers = {key: torch.zeros(3) for key in ("model_ema.decay", "model_ema.num_updates", "loss.logvar")}
    leftovers |= {f"model_ema.diffusion_modelinput_blocks{index}0weight": torch.ones(2) for index in range(120)}
    networks = small.write(tmp_path / "model.safetensors", structure, more=leftovers)
    assert_same(load(tmp_path / "model.safetensors"), networks, structure)


@pytest.mark.parametrize("name", ["sd1", "sd2", "sdxl", "sdxl_refiner"])
def test_a_file_whose_unet_is_left_only_as_averages(name: str, tmp_path: Path) -> None:
    """D015."""
    structure = FAMILIES[name]
    networks = small.make_networks(structure)
    tensors = small.original_tensors(structure, networks)
    prefix = "model.diffusion_model."
    flat = {
        "model_ema.diffusion_model" + key.removeprefix(prefix).replace(".", "")
        if key.startswith(prefix)
        else key: value
        for key, value in tensors.items()
    }
    save_file(flat, tmp_path / "model.safetensors", metadata=structure.metadata())
    assert_same(load(tmp_path / "model.safetensors"), networks, structure)


def test_a_v_pred_key_and_a_ztsnr_key_in_an_sdxl_file(tmp_path: Path) -> None:
    """D018."""
    structure = FAMILIES["sdxl"]
    marks = {"v_pred": torch.tensor([]), "ztsnr": torch.tensor([])}
    for form in ("safetensors", "ckpt"):
        path = tmp_path / f"model.{form}"
        small.write(path, structure, more=marks)
        model = load(path)
        assert model.prediction_type == "v"
        assert model.alphas_cumprod[-1].item() == pytest.approx(4.8973451890853435e-08)
        assert model.alphas_cumprod[0].item() == pytest.approx(0.99915)


@pytest.mark.parametrize("size", ["1KB", "300KB"])
def test_a_folder_whose_weights_are_spread_over_files(size: str, tmp_path: Path) -> None:
    structure = FAMILIES["sdxl"]
    networks = small.make_networks(structure)
    path = tmp_path / "model"
    small.write_folder(path, structure, networks)
    (path / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    networks.unet.save_pretrained(path / "unet", max_shard_size=size)
    assert len(list((path / "unet").glob("*.safetensors"))) > 3
    assert_same(load(path), networks, structure)
    first = next((path / "unet").glob("*.safetensors"))
    first.unlink()
    with pytest.raises(BadFile, match="does not exist"):
        load(path)


@pytest.mark.parametrize("form", ["fp16.safetensors", "bin", "fp16.bin"])
def test_a_folder_in_half_precision_or_of_pickles(form: str, tmp_path: Path) -> None:
    structure = FAMILIES["sdxl"]
    networks = small.make_networks(structure)
    small.write_folder(tmp_path / "model", structure, networks)
    for file in (tmp_path / "model").glob("*/*.safetensors"):
        tensors = {name: tensor.half() for name, tensor in load_file(file).items()}
        stem = file.name.removesuffix(".safetensors")
        to = file.with_name(f"{'pytorch_model' if form.endswith('bin') and stem == 'model' else stem}.{form}")
        torch.save(tensors, to) if form.endswith("bin") else save_file(tensors, to)
        file.unlink()
    assert_same(load(tmp_path / "model"), networks, structure)


def test_a_folder_without_its_vae_or_text_encoder_says_so(tmp_path: Path) -> None:
    structure = FAMILIES["sdxl"]
    path = tmp_path / "model"
    small.write_folder(path, structure, small.make_networks(structure))
    small.write(tmp_path / "other.safetensors", structure)
    shutil.rmtree(path / "vae")
    with pytest.raises(BadFile, match=r"holds no VAE.*models/VAE"):
        load(path)
    assert load(path, vae=tmp_path / "other.safetensors").vae_path == tmp_path / "other.safetensors"
    index = json.loads((path / "model_index.json").read_text(encoding="utf-8"))
    lacking = index | {"text_encoder_2": [None, None]}
    (path / "model_index.json").write_text(json.dumps(lacking), encoding="utf-8")
    with pytest.raises(BadFile, match="no second text encoder"):
        load(path)
    lacking |= {"text_encoder": [None, None]}
    (path / "model_index.json").write_text(json.dumps(lacking), encoding="utf-8")
    with pytest.raises(BadFile, match="no text encoder"):
        load(path)


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("text_encoder", "hidden_act", ["gelu"]),
        ("text_encoder", "hidden_act", "no such thing"),
        ("text_encoder_2", "layer_norm_eps", "small"),
        ("text_encoder_2", "layer_norm_eps", [1e-5]),
        ("unet", "norm_num_groups", -1),
        ("vae", "norm_num_groups", True),
        ("vae", "down_block_types", None),
        ("vae", "up_block_types", ["UpDecoderBlock2D"]),
    ],
)
def test_a_folder_whose_configuration_makes_no_sense_says_so(
    part: str, key: str, value: object, tmp_path: Path
) -> None:
    structure = FAMILIES["sdxl"]
    path = tmp_path / "model"
    small.write_folder(path, structure, small.make_networks(structure))
    file = path / part / "config.json"
    config = json.loads(file.read_text(encoding="utf-8")) | {key: value}
    file.write_text(json.dumps({key: value for key, value in config.items() if value is not None}), encoding="utf-8")
    with pytest.raises(BadFile):
        load(path)


def test_a_folder_says_that_its_schedule_ends_without_signal(tmp_path: Path) -> None:
    structure = FAMILIES["sdxl_v"]
    small.write_folder(tmp_path / "model", structure, small.make_networks(structure))
    file = tmp_path / "model" / "scheduler" / "scheduler_config.json"
    told = json.loads(file.read_text(encoding="utf-8")) | {"rescale_betas_zero_snr": True}
    file.write_text(json.dumps(told), encoding="utf-8")
    assert load(tmp_path / "model").alphas_cumprod[-1] < 1e-6


YAML_SDXL = {
    "scale_factor": 0.2,
    "network_config": {"params": {"num_head_channels": 16}},
    "denoiser_config": {"params": {"scaling_config": {"target": "sgm.modules.diffusionmodules.denoiser.VScaling"}}},
}
YAML_SD2 = {"parameterization": "v", "unet_config": {"params": {"num_head_channels": 32, "num_heads": -1}}}


@pytest.mark.parametrize(("name", "params"), [("sdxl", YAML_SDXL), ("sd2", YAML_SD2)])
def test_a_yaml_beside_an_sd2_or_sdxl_overrides_what_the_family_has(
    name: str, params: dict[str, object], tmp_path: Path
) -> None:
    """D014."""
    path = tmp_path / "model.safetensors"
    small.write(path, FAMILIES[name])
    path.with_suffix(".yaml").write_text(json.dumps({"model": {"params": params}}), encoding="utf-8")
    model = load(path)
    assert model.prediction_type == "v"
    assert model.scale_factor == params.get("scale_factor", 0.18215)
    width = 16 if name == "sdxl" else 32
    attentions = [module for module in model.unet.modules() if hasattr(module, "heads")]
    assert {module.to_q.out_features // module.heads for module in attentions} == {width}


def test_a_vector_that_no_pooled_text_fits_is_refused(tmp_path: Path) -> None:
    structure = FAMILIES["sdxl"]
    tensors = small.original_tensors(structure, small.make_networks(structure))
    key = "model.diffusion_model.label_emb.0.0.weight"
    odd = {key: torch.zeros(tensors[key].shape[0], structure.added_width + 1)}
    small.write(tmp_path / "model.safetensors", structure, more=odd)
    with pytest.raises(BadFile, match="pooled text"):
        load(tmp_path / "model.safetensors")
