"""The configuration of each network, read from the names and shapes of its tensors.

Widths, depths and the levels that have attention are all there; only head and group counts are not, and come as
arguments. Names are those of the original layout (CompVis latent-diffusion), or of diffusers for a separate VAE.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from modules.models.facts import CLIP_HEAD_WIDTH, Facts
from modules.params import BadFile


@dataclass(frozen=True)
class Layout:
    """The tensors of one network, asked for their shapes."""

    path: Path
    tensors: Mapping[str, torch.Tensor]

    def shape(self, name: str, dimensions: int) -> tuple[int, ...]:
        """The shape of a tensor that must be there. Raises BadFile where it is not, or is no such thing."""
        if name not in self.tensors:
            raise BadFile(self.path, f"lacks the weight {name}. The file is incomplete, or of an unknown kind.")
        shape = tuple(self.tensors[name].shape)
        if len(shape) != dimensions or 0 in shape:
            raise BadFile(self.path, f"has a weight {name} of shape {shape}; {dimensions} dimensions were expected.")
        return shape

    def has(self, prefix: str) -> bool:
        """Whether any name begins so."""
        return any(name.startswith(prefix) for name in self.tensors)

    def count(self, prefix: str) -> int:
        """How many of `prefix`0, `prefix`1, ... there are without a gap."""
        index = 0
        while self.has(f"{prefix}{index}."):
            index += 1
        return index

    def refuse(self, reason: str) -> BadFile:
        """An error for this file."""
        return BadFile(self.path, reason)


def unet_config(layout: Layout, facts: Facts) -> dict[str, Any]:
    """Arguments of diffusers' UNet2DConditionModel."""
    in_channels = layout.shape("input_blocks.0.0.weight", 4)[1]
    if in_channels != 4:
        kind = {9: "an inpainting", 8: "an instruct-pix2pix", 5: "a depth"}.get(in_channels, "an unknown kind of")
        raise layout.refuse(f"is {kind} model: its UNet has {in_channels} input channels where 4 were expected.")
    levels = _unet_levels(layout)
    middle_depth = layout.count("middle_block.1.transformer_blocks.")
    widths = [width for width, _, _ in levels]
    _check_divides(layout, facts.unet_groups, widths, "UNet", "tagbrush.unet.groups")
    attentive = [width for width, _, depth in levels if depth] + widths[-1:]
    _check_divides(layout, facts.unet_heads, attentive, "UNet", "tagbrush.unet.heads")
    return {
        "in_channels": in_channels,
        "out_channels": layout.shape("out.2.weight", 4)[0],
        "block_out_channels": widths,
        "layers_per_block": levels[0][1],
        "down_block_types": [f"{'CrossAttn' * bool(depth)}DownBlock2D" for _, _, depth in levels],
        "up_block_types": [f"{'CrossAttn' * bool(depth)}UpBlock2D" for _, _, depth in reversed(levels)],
        "transformer_layers_per_block": [depth or middle_depth for _, _, depth in levels],
        "cross_attention_dim": layout.shape("middle_block.1.transformer_blocks.0.attn2.to_k.weight", 2)[1],
        # diffusers' name for the number of heads
        "attention_head_dim": facts.unet_heads,
        "norm_num_groups": facts.unet_groups,
        "use_linear_projection": layout.tensors["middle_block.1.proj_in.weight"].ndim == 2,
    }


def _unet_levels(layout: Layout) -> list[tuple[int, int, int]]:
    """(width, residual blocks, transformer layers per attention or 0) of each resolution, the finest first."""
    levels: list[list[tuple[int, int]]] = [[]]
    for index in range(1, layout.count("input_blocks.")):
        block = f"input_blocks.{index}"
        if layout.has(f"{block}.0.op."):
            levels.append([])
            continue
        width = layout.shape(f"{block}.0.out_layers.3.weight", 4)[0]
        levels[-1].append((width, layout.count(f"{block}.1.transformer_blocks.")))
    same = all(len(set(level)) == 1 and len(level) == len(levels[0]) for level in levels)
    if not same:
        raise layout.refuse("has a UNet whose blocks differ inside one level, which is no SD 1.x structure.")
    return [(*level[0][:1], len(level), level[0][1]) for level in levels]


def vae_config(layout: Layout, facts: Facts) -> dict[str, Any]:
    """Arguments of diffusers' AutoencoderKL, from names of either layout."""
    if is_diffusers_vae(layout.tensors):
        level, block = "encoder.down_blocks.", "resnets."
    else:
        level, block = "encoder.down.", "block."
    counts = {layout.count(f"{level}{index}.{block}") for index in range(layout.count(level))}
    if len(counts) != 1 or 0 in counts:
        raise layout.refuse("has a VAE whose levels differ in depth, which is no SD 1.x structure.")
    if any(f".{index}.attn" in name for name in layout.tensors for index in range(layout.count(level))):
        raise layout.refuse("has a VAE with attention outside its middle, which is no SD 1.x structure.")
    last = counts.copy().pop() - 1
    widths = [layout.shape(f"{level}{index}.{block}{last}.conv2.weight", 4)[0] for index in range(layout.count(level))]
    _check_divides(layout, facts.vae_groups, widths, "VAE", "tagbrush.vae.groups")
    latent = layout.shape("post_quant_conv.weight", 4)[1]
    if latent != 4:
        raise layout.refuse(f"has a VAE with {latent} latent channels; SD 1.x has 4.")
    return {
        "in_channels": layout.shape("encoder.conv_in.weight", 4)[1],
        "out_channels": layout.shape("decoder.conv_out.weight", 4)[0],
        "block_out_channels": widths,
        "layers_per_block": last + 1,
        "down_block_types": ["DownEncoderBlock2D"] * len(widths),
        "up_block_types": ["UpDecoderBlock2D"] * len(widths),
        "latent_channels": latent,
        "norm_num_groups": facts.vae_groups,
        "scaling_factor": facts.scale_factor,
    }


def is_diffusers_vae(names: Mapping[str, Any]) -> bool:
    """Whether a VAE's tensors carry diffusers' names rather than the original ones."""
    return any(name.startswith("encoder.down_blocks.") for name in names)


def text_encoder_config(layout: Layout, facts: Facts) -> dict[str, Any]:
    """Arguments of transformers' CLIPTextConfig."""
    vocabulary, width = layout.shape("embeddings.token_embedding.weight", 2)
    heads = facts.clip_heads or max(width // CLIP_HEAD_WIDTH, 1)
    _check_divides(layout, heads, [width], "text encoder", "tagbrush.clip.heads")
    if vocabulary != 49408:
        raise layout.refuse(f"has a text encoder of {vocabulary} tokens; CLIP's vocabulary has 49408.")
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "projection_dim": width,
        "intermediate_size": layout.shape("encoder.layers.0.mlp.fc1.weight", 2)[0],
        "num_hidden_layers": layout.count("encoder.layers."),
        "num_attention_heads": heads,
        "max_position_embeddings": layout.shape("embeddings.position_embedding.weight", 2)[0],
        "hidden_act": "quick_gelu",
        "bos_token_id": 49406,
        "eos_token_id": 49407,
        "pad_token_id": 49407,
    }


def _check_divides(layout: Layout, parts: int, widths: list[int], network: str, key: str) -> None:
    odd = [width for width in widths if width % parts]
    if odd:
        raise layout.refuse(
            f"has a {network} of {odd[0]} channels, which {parts} does not divide. "
            f"Its metadata must say the right number as {key}."
        )
