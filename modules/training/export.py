"""A trained model in the layout of an original SD 1.x file: diffusers' and transformers' names mapped back."""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

from modules.training.diffusion import BETA_END, BETA_START, STEPS, make_alphas_cumprod

UNET_PREFIX = "model.diffusion_model."
VAE_PREFIX = "first_stage_model."
TEXT_PREFIX = "cond_stage_model.transformer.text_model."

_UNET_ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_RESNET_PARTS = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_VAE_ATTENTION_PARTS = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}

Weights = Mapping[str, torch.Tensor]


def unet_to_original(weights: Weights) -> dict[str, torch.Tensor]:
    """Rename a diffusers SD 1.x UNet's weights (any widths and depths) to the original names, without prefix."""
    layers = 1 + max(int(name.split(".")[3]) for name in weights if name.startswith("down_blocks.0.resnets."))
    attended = {name.split(".")[1] for name in weights if name.startswith("up_blocks.") and ".attentions." in name}
    return {_unet_name(name, layers, attended): tensor for name, tensor in weights.items()}


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
        raise ValueError(f"{name} is not a weight of an SD 1.x UNet")
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


def vae_to_original(weights: Weights) -> dict[str, torch.Tensor]:
    """Rename a diffusers AutoencoderKL's weights to the original names, without prefix."""
    blocks = 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("decoder.up_blocks."))
    renamed = {}
    for name, tensor in weights.items():
        original = _vae_name(name, blocks)
        is_linear = ".attn_1." in original and tensor.ndim == 2  # the original has 1x1 convolutions there
        renamed[original] = tensor[:, :, None, None] if is_linear else tensor
    return renamed


def _vae_name(name: str, blocks: int) -> str:
    if match := re.fullmatch(r"(\w+)\.mid_block\.attentions\.0\.(.+)\.(\w+)", name):
        return f"{match[1]}.mid.attn_1.{_VAE_ATTENTION_PARTS[match[2]]}.{match[3]}"
    name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    name = re.sub(r"down_blocks\.(\d)", r"down.\1", name)
    name = re.sub(r"up_blocks\.(\d)", lambda m: f"up.{blocks - 1 - int(m[1])}", name)
    return re.sub(r"(down|up)samplers\.0", r"\1sample", name).replace(".resnets.", ".block.")


def text_to_original(weights: Weights) -> dict[str, torch.Tensor]:
    """Name a CLIP text tower's weights as an SD 1.x file does, without prefix; adds the position ids it has."""
    named = {name.removeprefix("text_model."): tensor for name, tensor in weights.items()}
    positions = len(named["embeddings.position_embedding.weight"])
    return named | {"embeddings.position_ids": torch.arange(positions)[None]}


def schedule_to_original() -> dict[str, torch.Tensor]:
    """Return the noise schedule's tables as SD 1.x files carry them, fp32 of length 1000."""
    betas = torch.linspace(BETA_START**0.5, BETA_END**0.5, STEPS, dtype=torch.float64) ** 2
    share = make_alphas_cumprod().double()
    before = torch.cat([torch.ones(1, dtype=torch.float64), share[:-1]])
    variance = betas * (1 - before) / (1 - share)
    tables = {
        "betas": betas,
        "alphas_cumprod": share,
        "alphas_cumprod_prev": before,
        "sqrt_alphas_cumprod": share.sqrt(),
        "sqrt_one_minus_alphas_cumprod": (1 - share).sqrt(),
        "log_one_minus_alphas_cumprod": (1 - share).log(),
        "sqrt_recip_alphas_cumprod": share.rsqrt(),
        "sqrt_recipm1_alphas_cumprod": (1 / share - 1).sqrt(),
        "posterior_variance": variance,
        "posterior_log_variance_clipped": variance.clamp(min=1e-20).log(),
        "posterior_mean_coef1": betas * before.sqrt() / (1 - share),
        "posterior_mean_coef2": (1 - before) * (1 - betas).sqrt() / (1 - share),
    }
    return {name: table.float() for name, table in tables.items()}


def save_checkpoint(path: Path, *, unet: Weights, vae: Weights, text: Weights, metadata: dict[str, str]) -> None:
    """Write one `.safetensors` file: networks in fp16, tables in fp32, everything under SD 1.x's names."""
    tensors: dict[str, torch.Tensor] = {}
    networks = (
        (UNET_PREFIX, unet_to_original(unet)),
        (VAE_PREFIX, vae_to_original(vae)),
        (TEXT_PREFIX, text_to_original(text)),
    )
    for prefix, weights in networks:
        for name, tensor in weights.items():
            tensors[prefix + name] = (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
    tensors |= schedule_to_original()
    part = path.with_suffix(".part")
    save_file(tensors, part, metadata={"format": "pt", **metadata})
    part.chmod(0o644)  # safetensors makes files that only their owner reads
    part.replace(path)
