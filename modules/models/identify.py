"""Which kind of file a set of tensor names comes from, told before anything is built from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from modules.params import BadFile

UNET = "model.diffusion_model."
VAE = "first_stage_model."
TEXT_ENCODER = "cond_stage_model.transformer."

Names = frozenset[str]


def refuse_others(path: Path, names: Iterable[str]) -> None:
    """Nothing, if the names are those of an SD 1.x checkpoint in the original layout.

    Raises BadFile naming what the file is instead, and where it belongs.
    """
    names = frozenset(names)
    for is_it, what in _OTHER_FAMILIES:
        if is_it(names):
            raise BadFile(path, f"is a checkpoint of {what}. Tagbrush loads Stable Diffusion 1.x; choose another one.")
    for is_it, what, folder in _OTHER_KINDS:
        if is_it(names):
            raise BadFile(path, f"is {what}, not a checkpoint. Its place is {folder}.")
    if f"{UNET}input_blocks.0.0.weight" not in names:
        raise BadFile(path, "is no Stable Diffusion checkpoint: it has none of the UNet's weights.")
    if not any(name.startswith(TEXT_ENCODER) for name in names):
        raise BadFile(path, "has no text encoder. Get the full checkpoint rather than the UNet alone.")


def _has(*parts: str) -> Callable[[Names], bool]:
    return lambda names: any(part in name for name in names for part in parts)


def _starts(*prefixes: str) -> Callable[[Names], bool]:
    return lambda names: any(name.startswith(prefixes) for name in names)


_OTHER_FAMILIES: tuple[tuple[Callable[[Names], bool], str], ...] = (
    (_has("joint_blocks."), "Stable Diffusion 3"),
    (_has("double_blocks."), "Flux"),
    (_has("conditioner.embedders.", f"{UNET}label_emb."), "SDXL"),
    (_starts("cond_stage_model.model."), "Stable Diffusion 2"),
)

_OTHER_KINDS: tuple[tuple[Callable[[Names], bool], str, str], ...] = (
    (_starts("lora_unet_", "lora_te"), "a LoRA", "models/Lora"),
    (_has(".lora_up.", ".lora_A.", ".lora_down.", ".hada_w1_a", ".lokr_w1"), "a LoRA", "models/Lora"),
    (_starts("control_model.", "controlnet_"), "a ControlNet", "models/ControlNet"),
    (lambda names: names <= {"emb_params", "clip_l", "clip_g", "*", "string_to_param"}, "an embedding", "embeddings"),
    (
        lambda names: "decoder.conv_in.weight" in names or all(name.startswith(VAE) for name in names),
        "a VAE",
        "models/VAE",
    ),
    (
        _starts("down_blocks."),
        "the UNet of a diffusers folder",
        "inside that folder (unet/), beside its model_index.json",
    ),
)
