"""Another VAE for a model: from every kind of file, sharing all else, and gone without a trace."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from modules.models import Model, load, with_vae
from modules.params import BadFile
from tests.models import small
from tests.models.small import FAMILIES, VAE

SDXL = FAMILIES["sdxl"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SDXL checkpoint, the same without VAE, and VAEs of their own."""
    folder = tmp_path_factory.mktemp("vaes")
    networks = small.write(folder / "whole.safetensors", SDXL)
    tensors = small.original_tensors(SDXL, networks)
    save_file({name: value for name, value in tensors.items() if not name.startswith(VAE)}, folder / "bare.safetensors")
    brighter = {name.removeprefix(VAE): value * 1.25 for name, value in tensors.items() if name.startswith(VAE)}
    save_file(brighter, folder / "whole.vae.safetensors")
    torch.save({"state_dict": brighter | {"loss.x": torch.ones(1)}}, folder / "whole.vae.ckpt")
    ours = {name: (value * 1.25).half() for name, value in networks.vae.state_dict().items()}
    save_file(ours, folder / "diffusers.safetensors")
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return load(folder / "whole.safetensors")


@pytest.mark.parametrize("name", ["whole.vae.safetensors", "whole.vae.ckpt", "diffusers.safetensors"])
def test_only_the_vae_is_another_one(folder: Path, model: Model, name: str) -> None:
    """D020, D022."""
    other = with_vae(model, folder / name)
    assert other.unet is model.unet
    assert other.text_encoder is model.text_encoder
    assert other.text_encoder_2 is model.text_encoder_2
    assert other.merges is model.merges
    assert other.vae_path == folder / name
    for key, weight in model.vae.state_dict().items():
        assert torch.equal(other.vae.state_dict()[key], (weight.half() * 1.25).float()), key
    assert other.scale_factor == 0.13025
    assert not torch.equal(other.rgb, model.rgb)


def test_the_checkpoints_own_comes_back_and_one_follows_another(folder: Path, model: Model) -> None:
    """D022."""
    other = with_vae(with_vae(model, folder / "whole.vae.ckpt"), folder / "diffusers.safetensors")
    again = with_vae(other, None)
    assert again.vae is model.vae
    assert (again.vae_path, again.own_vae) == (None, None)
    assert torch.equal(again.rgb, model.rgb)
    assert with_vae(model, None) is not None


def test_a_checkpoint_without_vae_takes_another_and_says_so_when_asked_for_its_own(folder: Path) -> None:
    bare = load(folder / "bare.safetensors", vae=folder / "whole.vae.safetensors")
    assert bare.own_vae is None
    with pytest.raises(BadFile, match=r"bare.*holds no VAE.*models/VAE"):
        with_vae(bare, None)
    with pytest.raises(BadFile, match="holds no VAE"):
        load(folder / "bare.safetensors")
    assert with_vae(bare, folder / "whole.vae.ckpt").vae_path == folder / "whole.vae.ckpt"


def test_a_checkpoint_is_taken_for_its_vae_too(folder: Path, model: Model) -> None:
    """A1111 lists any checkpoint in models/VAE."""
    other = with_vae(model, folder / "whole.safetensors")
    assert torch.equal(other.vae.decoder.conv_in.weight, model.vae.decoder.conv_in.weight)


def test_a_vae_made_with_the_usual_groups_keeps_them_on_a_model_made_with_others(
    model: Model, folder: Path, tmp_path: Path
) -> None:
    small.write(tmp_path / "narrow.safetensors", small.Structure())
    narrow = load(tmp_path / "narrow.safetensors")
    assert narrow.vae.config.norm_num_groups == 8
    assert with_vae(narrow, folder / "whole.vae.safetensors").vae.config.norm_num_groups == 32
    assert with_vae(narrow, tmp_path / "narrow.safetensors").vae.config.norm_num_groups == 8
    assert with_vae(model, tmp_path / "narrow.safetensors").vae.config.norm_num_groups == 8
