"""The table of original names is that of diffusers' own conversion, and its two directions are inverse."""

from __future__ import annotations

import pytest
import torch
from diffusers.loaders.single_file_utils import (
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from torch import nn

from modules.models.places import Form, Place, openclip_places, to_original, unet_places, vae_places
from tests.models import small
from tests.models.small import FAMILIES, OPENCLIP, VAE

NAMES = ["sd1", "sd2", "sdxl", "sdxl_refiner"]


def assert_same(got: dict[str, torch.Tensor], module: nn.Module) -> None:
    expected = module.state_dict()
    assert got.keys() == expected.keys()
    assert all(torch.equal(got[name], expected[name]) for name in expected)


@pytest.mark.parametrize("name", NAMES)
def test_diffusers_own_conversion_reads_what_the_table_wrote(name: str) -> None:
    structure = FAMILIES[name]
    networks = small.make_networks(structure)
    tensors = small.original_tensors(structure, networks, torch.float32)
    assert_same(convert_ldm_unet_checkpoint(dict(tensors), dict(networks.unet.config)), networks.unet)
    vae = {key: value for key, value in tensors.items() if key.startswith(VAE)}
    assert_same(convert_ldm_vae_checkpoint(vae, dict(networks.vae.config)), networks.vae)


@pytest.mark.parametrize("name", ["sdxl", "sdxl_refiner"])
def test_diffusers_own_conversion_reads_openclips_layers(name: str) -> None:
    structure = FAMILIES[name]
    networks = small.make_networks(structure)
    encoder = networks.text_encoder_2
    tensors = small.original_tensors(structure, networks, torch.float32)
    prefix = OPENCLIP[structure.family]
    # diffusers takes the width for the first side of text_projection, which is so in OpenCLIP
    converted = convert_open_clip_checkpoint(encoder, tensors, prefix=prefix)
    named = {key if key.startswith("text_") else f"text_model.{key}": value for key, value in converted.items()}
    expected = encoder.state_dict()
    lacking = expected.keys() - named.keys()
    assert lacking <= {"text_projection.weight"}
    for key in expected.keys() - lacking:
        assert torch.equal(named[key], expected[key]), key


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_is_read_back_from_where_it_was_written(name: str) -> None:
    networks = small.make_networks(FAMILIES[name])
    tables = [(networks.unet, unet_places), (networks.vae, vae_places)]
    if networks.text_encoder_2 is not None:
        tables.append((networks.text_encoder_2, openclip_places))
    for module, places in tables:
        weights = module.state_dict()
        written = to_original(weights, places)
        read = {key: place.read(written[place.name]) for key, place in places(weights).items()}
        assert_same(read, module)


def test_a_tensor_of_an_odd_shape_is_handed_on_for_the_loader_to_refuse() -> None:
    odd = torch.zeros(7)
    assert Place("x", third=1).read(odd) is odd
    assert Place("x", form=Form.TRANSPOSED).read(odd) is odd
    assert Place("x", form=Form.CONVOLUTION).read(odd) is odd


def test_a_weight_that_no_such_network_has_is_an_error() -> None:
    with pytest.raises(ValueError, match="not a weight"):
        unet_places(["down_blocks.0.resnets.0.conv1.weight", "down_blocks.0.motion.weight"])
    with pytest.raises(ValueError, match="not a weight"):
        openclip_places(["visual.proj"])
