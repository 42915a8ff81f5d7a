"""Where the weights of diffusers' and transformers' modules lie in a file of the original layout.

One table, read in both directions: checkpoints are loaded by looking each weight of a module up at its place, and
exported by putting each weight there. The original names are those of CompVis' latent-diffusion (UNet, VAE), OpenAI's
CLIP as transformers first named it, and OpenCLIP.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

import torch

Tensors = Mapping[str, torch.Tensor]


class Form(Enum):
    """How the tensor in the file differs from the module's."""

    SAME = "same"
    TRANSPOSED = "transposed"
    """A matrix that OpenCLIP multiplies from the other side."""
    CONVOLUTION = "convolution"
    """A 1x1 convolution (O, I, 1, 1) where the module has a linear layer (O, I)."""


@dataclass(frozen=True, slots=True)
class Place:
    """One weight's place: a tensor's name, and which third of it where query, key and value are one tensor."""

    name: str
    third: int | None = None
    form: Form = Form.SAME

    def read(self, tensor: torch.Tensor) -> torch.Tensor:
        """The module's weight as a view of the file's tensor; one of another shape comes back as it is."""
        if self.third is not None and tensor.ndim and len(tensor) % 3 == 0:
            return tensor.chunk(3)[self.third]
        if self.form is Form.TRANSPOSED and tensor.ndim == 2:
            return tensor.T
        if self.form is Form.CONVOLUTION and tensor.ndim == 4 and tensor.shape[2:] == (1, 1):
            return tensor[:, :, 0, 0]
        return tensor

    def write(self, weight: torch.Tensor) -> torch.Tensor:
        """The inverse of `read`, thirds aside."""
        if self.form is Form.TRANSPOSED:
            return weight.T
        if self.form is Form.CONVOLUTION and weight.ndim == 2:
            return weight[:, :, None, None]
        return weight


Places = Callable[[Iterable[str]], Mapping[str, Place]]
"""The names of a module's weights -> the place of each."""


def to_original(weights: Tensors, places: Places) -> dict[str, torch.Tensor]:
    """A module's weights under their original names, thirds joined."""
    renamed: dict[str, torch.Tensor] = {}
    thirds: dict[str, dict[int, torch.Tensor]] = {}
    for name, place in places(weights).items():
        if place.third is None:
            renamed[place.name] = place.write(weights[name])
        else:
            thirds.setdefault(place.name, {})[place.third] = weights[name]
    return renamed | {name: torch.cat([parts[third] for third in range(3)]) for name, parts in thirds.items()}


def same_names(names: Iterable[str]) -> dict[str, Place]:
    """The places in a file that has the module's own names, as those of diffusers folders."""
    return {name: Place(name) for name in names}


# UNet

_UNET_ENDS: Mapping[str, str] = MappingProxyType(
    {
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "add_embedding.linear_1": "label_emb.0.0",
        "add_embedding.linear_2": "label_emb.0.2",
        "conv_in": "input_blocks.0.0",
        "conv_norm_out": "out.0",
        "conv_out": "out.2",
    }
)
_RESNET_PARTS: Mapping[str, str] = MappingProxyType(
    {
        "norm1": "in_layers.0",
        "conv1": "in_layers.2",
        "norm2": "out_layers.0",
        "conv2": "out_layers.3",
        "time_emb_proj": "emb_layers.1",
        "conv_shortcut": "skip_connection",
    }
)


def unet_places(names: Iterable[str]) -> dict[str, Place]:
    """The places of a UNet2DConditionModel's weights, of any widths and depths, without the file's prefix."""
    names = tuple(names)
    layers = 1 + max(int(name.split(".")[3]) for name in names if name.startswith("down_blocks.0.resnets."))
    attended = {name.split(".")[1] for name in names if name.startswith("up_blocks.") and ".attentions." in name}
    return {name: Place(_unet_name(name, layers, attended)) for name in names}


def _unet_name(name: str, layers: int, attended: set[str]) -> str:
    stem, _, last = name.rpartition(".")
    if stem in _UNET_ENDS:
        return f"{_UNET_ENDS[stem]}.{last}"
    if match := re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", name):
        kind, number, rest = match.groups()
        place = 1 if kind == "attentions" else int(number) * 2
        return f"middle_block.{place}.{_unet_part(kind, rest)}"
    match = re.fullmatch(r"(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.*)", name)
    if match is None:
        raise ValueError(f"{name} is not a weight of a Stable Diffusion UNet")
    way, block, kind, number, rest = match.groups()
    if kind == "downsamplers":
        return f"input_blocks.{(int(block) + 1) * (layers + 1)}.0.op.{last}"
    if kind == "upsamplers":
        return f"output_blocks.{int(block) * (layers + 1) + layers}.{2 if block in attended else 1}.conv.{last}"
    place = int(block) * (layers + 1) + int(number) + (1 if way == "down" else 0)
    side = "input_blocks" if way == "down" else "output_blocks"
    return f"{side}.{place}.{0 if kind == 'resnets' else 1}.{_unet_part(kind, rest)}"


def _unet_part(kind: str, rest: str) -> str:
    if kind == "attentions":
        return rest
    part, last = rest.rsplit(".", 1)
    return f"{_RESNET_PARTS[part]}.{last}"


# VAE

_VAE_ATTENTION_PARTS: Mapping[str, str] = MappingProxyType(
    {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
)


def vae_places(names: Iterable[str]) -> dict[str, Place]:
    """The places of an AutoencoderKL's weights, without the file's prefix."""
    names = tuple(names)
    blocks = 1 + max(int(name.split(".")[2]) for name in names if name.startswith("decoder.up_blocks."))
    return {name: _vae_place(name, blocks) for name in names}


def _vae_place(name: str, blocks: int) -> Place:
    if match := re.fullmatch(r"(\w+)\.mid_block\.attentions\.0\.(.+)\.(\w+)", name):
        part = _VAE_ATTENTION_PARTS[match[2]]
        is_linear = part != "norm" and match[3] == "weight"
        form = Form.CONVOLUTION if is_linear else Form.SAME
        return Place(f"{match[1]}.mid.attn_1.{part}.{match[3]}", form=form)
    name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda match: f"mid.block_{int(match[1]) + 1}", name)
    name = re.sub(r"down_blocks\.(\d+)", r"down.\1", name)
    name = re.sub(r"up_blocks\.(\d+)", lambda match: f"up.{blocks - 1 - int(match[1])}", name)
    return Place(re.sub(r"(down|up)samplers\.0", r"\1sample", name).replace(".resnets.", ".block."))


# Text encoders

_TEXT_MODEL = "text_model."


def clip_places(names: Iterable[str]) -> dict[str, Place]:
    """The places of a CLIPTextModel's weights where the file has transformers' names, without any prefix."""
    return {name: Place(name.removeprefix(_TEXT_MODEL)) for name in names}


_OPENCLIP_ENDS: Mapping[str, Place] = MappingProxyType(
    {
        "embeddings.token_embedding.weight": Place("token_embedding.weight"),
        "embeddings.position_embedding.weight": Place("positional_embedding"),
        "final_layer_norm.weight": Place("ln_final.weight"),
        "final_layer_norm.bias": Place("ln_final.bias"),
        "text_projection.weight": Place("text_projection", form=Form.TRANSPOSED),
    }
)
_OPENCLIP_PARTS: Mapping[str, str] = MappingProxyType(
    {
        "layer_norm1": "ln_1",
        "layer_norm2": "ln_2",
        "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj",
        "self_attn.out_proj": "attn.out_proj",
    }
)
_THIRDS: Mapping[str, int] = MappingProxyType({"q": 0, "k": 1, "v": 2})


def openclip_places(names: Iterable[str]) -> dict[str, Place]:
    """The places of a CLIPTextModel's or CLIPTextModelWithProjection's weights in OpenCLIP's layout."""
    return {name: _openclip_place(name.removeprefix(_TEXT_MODEL)) for name in names}


def _openclip_place(name: str) -> Place:
    if name in _OPENCLIP_ENDS:
        return _OPENCLIP_ENDS[name]
    match = re.fullmatch(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)", name)
    if match is None:
        raise ValueError(f"{name} is not a weight of a CLIP text encoder")
    block, part, last = f"transformer.resblocks.{match[1]}", match[2], match[3]
    if fused := re.fullmatch(r"self_attn\.([qkv])_proj", part):
        return Place(f"{block}.attn.in_proj_{last}", third=_THIRDS[fused[1]])
    return Place(f"{block}.{_OPENCLIP_PARTS[part]}.{last}")
