"""The other checkpoints and the VAE of the reference data, derived from its one checkpoint.

`tests/data/golden/manifest.json` says how, under "sampling_models.json".
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

GOLDEN = Path(__file__).parent / "data" / "golden"
CHECKPOINT = GOLDEN / "model" / "tiny_sd1.safetensors"
UNET, VAE = "model.diffusion_model.", "first_stage_model."
NAMES = ("tiny_sd1", "tiny_v", "tiny_inpaint", "tiny_refiner")
VAE_NAME = "tinyvae.safetensors"
FORMAT = {"format": "pt"}

Tensors = dict[str, torch.Tensor]


def write_golden_models(checkpoints: Path, vaes: Path) -> None:
    """Write the reference's checkpoints into one folder, each with its `.yaml`, and its VAE into another.

    The files are the reference's byte for byte, so that infotexts show the same hashes.
    """
    tensors, config = load_file(CHECKPOINT), CHECKPOINT.with_suffix(".yaml").read_text(encoding="utf-8")
    shutil.copytree(CHECKPOINT.parent / "clip", checkpoints / "clip", dirs_exist_ok=True)
    shutil.copy(CHECKPOINT, checkpoints)
    as_v = config.replace("  params:\n    linear_start", '  params:\n    parameterization: "v"\n    linear_start', 1)
    hybrid = config.replace("conditioning_key: crossattn", "conditioning_key: hybrid")
    _write(checkpoints, "tiny_sd1", None, config)
    _write(checkpoints, "tiny_v", tensors, as_v)
    _write(checkpoints, "tiny_inpaint", _for_inpainting(tensors), hybrid.replace("in_channels: 4", "in_channels: 9"))
    _write(checkpoints, "tiny_refiner", _scaled(tensors, f"{UNET}out.2.weight", 0.5), config)
    bright = _scaled(tensors, f"{VAE}decoder.conv_out.weight", 1.5)
    vae = {name.removeprefix(VAE): tensor for name, tensor in bright.items() if name.startswith(VAE)}
    vaes.mkdir(parents=True, exist_ok=True)
    save_file(vae, vaes / VAE_NAME, metadata=FORMAT)


def _write(folder: Path, name: str, tensors: Tensors | None, config: str) -> None:
    if tensors is not None:
        save_file(tensors, folder / f"{name}.safetensors", metadata=FORMAT)
    (folder / f"{name}.yaml").write_text(config, encoding="utf-8")


def _for_inpainting(tensors: Tensors) -> Tensors:
    (nine,) = load_file(GOLDEN / "inputs" / "inpaint_conv_in_9ch.safetensors").values()
    return tensors | {f"{UNET}input_blocks.0.0.weight": nine}


def _scaled(tensors: Tensors, name: str, factor: float) -> Tensors:
    """The tensors with one of them times a factor, in float32 and stored as it was."""
    return tensors | {name: (tensors[name].float() * factor).to(tensors[name].dtype)}
