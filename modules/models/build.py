"""Modules made without ever initialising a weight, and filled from a file.

diffusers and transformers take four seconds to import, which whoever only patches a model need not wait for; so they
are imported where a module is made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import nn

from modules.models.checkpoint import Part
from modules.models.memory_order import put_channels_last
from modules.models.threads import run_small_on_one_thread
from modules.models.upsample import Upsample
from modules.models.vae_attention import attend_as_a1111
from modules.params import BadFile

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

Module = TypeVar("Module", bound=nn.Module)

ATTENTION = "eager"  # of the text encoders: rounds as A1111's does, and 77 tokens gain nothing from a fused kernel

# What diffusers and transformers raise where a folder's config.json makes no sense.
_NONSENSE = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


def build_unet(part: Part, *, device: torch.device, dtype: torch.dtype) -> UNet2DConditionModel:
    """The UNet with the weights of `part`. Raises BadFile where one is missing or has another shape."""
    from diffusers import UNet2DConditionModel

    unet = _empty(lambda: UNet2DConditionModel.from_config(dict(part.config)), part)
    for block in unet.up_blocks:
        if block.upsamplers:
            block.upsamplers = nn.ModuleList(Upsample(upsampler.conv) for upsampler in block.upsamplers)
    put_channels_last(unet)
    run_small_on_one_thread(unet)
    return _filled(unet, part, "UNet", device, dtype)


def build_vae(part: Part, *, device: torch.device, dtype: torch.dtype) -> AutoencoderKL:
    """The VAE with the weights of `part`. Errors as `build_unet`."""
    from diffusers import AutoencoderKL

    vae = _empty(lambda: AutoencoderKL.from_config(dict(part.config)), part)
    attend_as_a1111(vae)
    return _filled(vae, part, "VAE", device, dtype)


def build_text_encoder(part: Part, *, device: torch.device, dtype: torch.dtype) -> CLIPTextModel:
    """The text encoder with the weights of `part`. Errors as `build_unet`."""
    from transformers import CLIPTextConfig, CLIPTextModel

    encoder = _empty(lambda: CLIPTextModel(CLIPTextConfig(**part.config)), part)
    encoder.set_attn_implementation(ATTENTION)
    _count_positions(encoder.embeddings, device)
    return _filled(encoder, part, "text encoder", device, dtype)


def build_text_encoder_2(part: Part, *, device: torch.device, dtype: torch.dtype) -> CLIPTextModelWithProjection:
    """The text encoder that gives a pooled vector too, with the weights of `part`. Errors as `build_unet`."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    encoder = _empty(lambda: CLIPTextModelWithProjection(CLIPTextConfig(**part.config)), part)
    encoder.set_attn_implementation(ATTENTION)
    _count_positions(encoder.text_model.embeddings, device)
    return _filled(encoder, part, "second text encoder", device, dtype)


def _count_positions(embeddings: nn.Module, device: torch.device) -> None:
    """Have the positions counted rather than read: a file may lack them, or hold them as half-precision numbers."""
    positions = embeddings.position_embedding.num_embeddings
    embeddings.position_ids = torch.arange(positions, device=device).unsqueeze(0)


def _empty(make: Callable[[], Module], part: Part) -> Module:
    """The module with the shapes of its weights and no memory for them."""
    try:
        with torch.device("meta"):
            return make()
    except _NONSENSE as error:
        reason = f"has a configuration that describes no network ({error}). Download it again."
        raise BadFile(part.path, reason) from error


def _filled(module: Module, part: Part, name: str, device: torch.device, dtype: torch.dtype) -> Module:
    """The module with copies of the tensors as its frozen weights: one allocation for each, no initialisation."""
    expected = {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()}
    places = part.places(expected)
    missing = sorted(place.name for place in places.values() if place.name not in part.tensors)
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise BadFile(part.path, f"lacks the {name}'s weight {missing[0]}{more}. The file is incomplete.")
    found = {key: places[key].read(part.tensors[places[key].name]) for key in expected}
    for key, shape in expected.items():
        got = tuple(found[key].shape)
        if got != shape:
            raise BadFile(part.path, f"has a {name} weight {places[key].name} of shape {got} where {shape} belongs.")
    weights = {key: _copied(tensor, part, device, dtype) for key, tensor in found.items()}
    module.load_state_dict(weights, assign=True)
    return module.requires_grad_(False).eval()


def _copied(tensor: torch.Tensor, part: Part, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """A contiguous copy, since the tensor may be a view of a file that others can change.

    The file's memory is given back at once: a whole file in memory beside all its copies would be twice as much.
    """
    copy = torch.empty(tensor.shape, device=device, dtype=dtype).copy_(tensor)
    for file in part.mapped:
        file.forget(tensor)
    return copy


def originals(module: nn.Module, part: Part) -> dict[str, torch.Tensor]:
    """The views of the part's file that the module's weights were copied from, by the module's names.

    Copied again they give the same numbers, in another number type too.
    """
    if not part.mapped:
        return {}
    places = part.places(dict(module.named_parameters()))
    return {key: place.read(part.tensors[place.name]) for key, place in places.items()}
