"""The configuration of each network, read from the names and shapes of its tensors.

Widths, depths and the levels that have attention are all there; only head and group counts are not, and come as
arguments. Names are those of the original layout (CompVis latent-diffusion), or of diffusers for a separate VAE.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from modules.models.facts import Facts
from modules.models.model import Family
from modules.params import BadFile

SD1_HEADS = 8
HEAD_WIDTH = 64
"""Channels of a head in the UNets of SD 2 and SDXL, and in every text encoder."""
VOCABULARY = 49408
SIZES: Mapping[Family, int] = MappingProxyType({"sdxl": 6, "sdxl_refiner": 5})
"""Numbers that the UNet reads: original size, crop, target size; a refiner an aesthetic score in place of the last."""


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


def unet_config(layout: Layout, facts: Facts, pooled_width: int = 0) -> dict[str, Any]:
    """Arguments of diffusers' UNet2DConditionModel; `pooled_width` is that of the text vector that SDXL's reads."""
    levels = _unet_levels(layout)
    widths = [level.width for level in levels]
    _check_divides(layout, facts.unet_groups, widths, "UNet", "tagbrush.unet.groups")
    heads = [_unet_heads(width, facts) for width in widths]
    for level, count in zip(levels, heads, strict=True):
        if level.has_attention or level is levels[-1]:
            _check_divides(layout, count, [level.width], "UNet", "tagbrush.unet.heads")
    context, projection = _an_attention(layout)
    return (
        {
            "in_channels": layout.shape("input_blocks.0.0.weight", 4)[1],
            "out_channels": layout.shape("out.2.weight", 4)[0],
            "block_out_channels": widths,
            "layers_per_block": len(levels[0].down),
            "down_block_types": [f"{'CrossAttn' * level.has_attention}DownBlock2D" for level in levels],
            "up_block_types": [f"{'CrossAttn' * level.has_attention}UpBlock2D" for level in reversed(levels)],
            "cross_attention_dim": layout.shape(context, 2)[1],
            # diffusers' name for the numbers of heads
            "attention_head_dim": heads,
            "norm_num_groups": facts.unet_groups,
            "use_linear_projection": layout.tensors[projection].ndim == 2,
        }
        | _depths(layout, levels)
        | _added_conditions(layout, facts, pooled_width)
    )


def _an_attention(layout: Layout) -> tuple[str, str]:
    """The weights of one attention that show the width of the text and the kind of the projections around it."""
    block = "middle_block.1"
    if not layout.has(f"{block}."):
        ends = ".1.transformer_blocks.0.attn2.to_k.weight"
        found = next((name for name in layout.tensors if name.endswith(ends)), None)
        block = found.removesuffix(ends) + ".1" if found else block
    return f"{block}.transformer_blocks.0.attn2.to_k.weight", f"{block}.proj_in.weight"


def _depths(layout: Layout, levels: Sequence[_Level]) -> dict[str, Any]:
    """How many transformer layers each attention has: in general, or one by one as in distilled models such as SSD-1B.

    diffusers gives the middle as many as the first attention of the coarsest level.
    """
    middle = layout.count("middle_block.1.transformer_blocks.")
    coarsest = levels[-1].down[0]
    if middle and coarsest not in (0, middle):
        raise layout.refuse(f"has a UNet whose middle is {middle} layers deep and the level around it {coarsest}.")
    if middle and all(len({*level.down, *level.up}) == 1 for level in levels):
        return {"transformer_layers_per_block": [level.down[0] or middle for level in levels]}
    return {
        "transformer_layers_per_block": [list(level.down) if level.has_attention else middle or 1 for level in levels],
        "reverse_transformer_layers_per_block": [
            list(level.up) if level.has_attention else 1 for level in reversed(levels)
        ],
        "mid_block_type": "UNetMidBlock2DCrossAttn" if middle else "UNetMidBlock2D",
    }


def _unet_heads(width: int, facts: Facts) -> int:
    if facts.unet_heads:
        return facts.unet_heads
    if facts.family == "sd1" and not facts.unet_head_width:
        return SD1_HEADS
    return max(width // (facts.unet_head_width or HEAD_WIDTH), 1)


def _added_conditions(layout: Layout, facts: Facts, pooled_width: int) -> dict[str, Any]:
    """How SDXL's UNet reads the pooled text and the picture's sizes beside the timestep (arXiv:2307.01952, 2.2).

    They are one vector: the pooled text, then each of the `SIZES` numbers as a sinusoid.
    """
    if not layout.has("label_emb.0.0."):
        return {}
    width = layout.shape("label_emb.0.0.weight", 2)[1]
    sizes, rest = divmod(width - pooled_width, SIZES.get(facts.family, 0) or 1)
    if rest or sizes < 2 or sizes % 2:
        raise layout.refuse(
            f"has a UNet that reads a vector of {width} numbers, which a pooled text of {pooled_width} does not fit. "
            "Its text encoder is another model's."
        )
    return {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": sizes,
        "projection_class_embeddings_input_dim": width,
    }


@dataclass(frozen=True)
class _Level:
    """One resolution of the UNet: its width, and the transformer layers of each block down and up (0: none)."""

    width: int
    down: tuple[int, ...]
    up: tuple[int, ...]

    @property
    def has_attention(self) -> bool:
        return bool(self.down[0])


def _unet_levels(layout: Layout) -> list[_Level]:
    """The resolutions, the finest first."""
    down: list[list[tuple[int, int]]] = [[]]
    for index in range(1, layout.count("input_blocks.")):
        block = f"input_blocks.{index}"
        if layout.has(f"{block}.0.op."):
            down.append([])
            continue
        width = layout.shape(f"{block}.0.out_layers.3.weight", 4)[0]
        down[-1].append((width, layout.count(f"{block}.1.transformer_blocks.")))
    blocks = len(down[0]) + 1
    up = [layout.count(f"output_blocks.{index}.1.transformer_blocks.") for index in range(blocks * len(down))]
    levels = []
    for number, level in enumerate(down):
        start = blocks * (len(down) - 1 - number)
        widths, depths = zip(*level, strict=True) if level else ((), ())
        levels.append(_Level(widths[0] if widths else 0, depths, tuple(up[start : start + blocks])))
        is_regular = len(set(widths)) == 1 and len(level) == blocks - 1
        if not is_regular or len({bool(depth) for depth in (*depths, *levels[-1].up)}) != 1:
            raise layout.refuse("has a UNet whose blocks differ inside one level, which no Stable Diffusion has.")
    return levels


def vae_config(layout: Layout, facts: Facts) -> dict[str, Any]:
    """Arguments of diffusers' AutoencoderKL, from names of either layout."""
    if is_diffusers_vae(layout.tensors):
        level, block = "encoder.down_blocks.", "resnets."
    else:
        level, block = "encoder.down.", "block."
    counts = {layout.count(f"{level}{index}.{block}") for index in range(layout.count(level))}
    if len(counts) != 1 or 0 in counts:
        raise layout.refuse("has a VAE whose levels differ in depth, which no Stable Diffusion has.")
    if any(f".{index}.attn" in name for name in layout.tensors for index in range(layout.count(level))):
        raise layout.refuse("has a VAE with attention outside its middle, which no Stable Diffusion has.")
    last = counts.copy().pop() - 1
    widths = [layout.shape(f"{level}{index}.{block}{last}.conv2.weight", 4)[0] for index in range(layout.count(level))]
    _check_divides(layout, facts.vae_groups, widths, "VAE", "tagbrush.vae.groups")
    latent = layout.shape("post_quant_conv.weight", 4)[1]
    if latent != 4:
        raise layout.refuse(f"has a VAE with {latent} latent channels; Stable Diffusion 1, 2 and XL have 4.")
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


def clip_config(layout: Layout, facts: Facts) -> dict[str, Any]:
    """Arguments of transformers' CLIPTextConfig, from transformers' names."""
    vocabulary, width = layout.shape("embeddings.token_embedding.weight", 2)
    return _text_config(layout, vocabulary, width, facts) | {
        "projection_dim": width,
        "intermediate_size": layout.shape("encoder.layers.0.mlp.fc1.weight", 2)[0],
        "num_hidden_layers": layout.count("encoder.layers."),
        "max_position_embeddings": layout.shape("embeddings.position_embedding.weight", 2)[0],
        "hidden_act": "quick_gelu",
    }


def openclip_config(layout: Layout, facts: Facts) -> dict[str, Any]:
    """The same from OpenCLIP's names (mlfoundations/open_clip), whose networks use the exact GELU."""
    vocabulary, width = layout.shape("token_embedding.weight", 2)
    return _text_config(layout, vocabulary, width, facts) | {
        "projection_dim": layout.shape("text_projection", 2)[1] if layout.has("text_projection") else width,
        "intermediate_size": layout.shape("transformer.resblocks.0.mlp.c_fc.weight", 2)[0],
        "num_hidden_layers": layout.count("transformer.resblocks."),
        "max_position_embeddings": layout.shape("positional_embedding", 2)[0],
        "hidden_act": "gelu",
    }


def _text_config(layout: Layout, vocabulary: int, width: int, facts: Facts) -> dict[str, Any]:
    heads = facts.clip_heads or max(width // HEAD_WIDTH, 1)
    _check_divides(layout, heads, [width], "text encoder", "tagbrush.clip.heads")
    if vocabulary != VOCABULARY:
        raise layout.refuse(f"has a text encoder of {vocabulary} tokens; CLIP's vocabulary has {VOCABULARY}.")
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "num_attention_heads": heads,
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
