"""What a checkpoint is, told from the names and shapes of its tensors alone (D014)."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Protocol

from modules.params import LARGEST_SIDE, LATENT_PIXELS, BadFile

Family = Literal["sd1", "sd2", "sdxl", "sdxl_refiner", "sd3", "flux", "wan", "hunyuan", "lumina", ""]
"""The base model that a file is, or was made for; "" where nothing tells. Only the first four can be drawn with."""

Variant = Literal["base", "inpaint", "pix2pix"]
"""What the UNet reads besides the latents: nothing, a mask and the masked picture, or a picture."""

Prediction = Literal["epsilon", "v"]

EDM_SDXL = "SDXL with EDM noise (Playground 2.5, CosXL)"

CLIP_L, CLIP_G = "clip_l", "clip_g"
"""What embeddings call their parts for the two text encoders of SDXL; those for one alone are of the first."""

UNET = "model.diffusion_model."
VAE = "first_stage_model."
CONV_IN = f"{UNET}input_blocks.0.0.weight"
"""(channels, latent channels and those of the variant, 3, 3)"""

FAMILY_OF_WIDTH: Mapping[int, Family] = MappingProxyType({768: "sd1", 1024: "sd2", 2048: "sdxl", 1280: "sdxl_refiner"})
"""By the width of the text that cross-attention looks at, in models of full size."""

VARIANT_OF_CHANNELS: Mapping[int, Variant] = MappingProxyType({4: "base", 9: "inpaint", 8: "pix2pix"})

SIZE_OF_PREDICTION: Mapping[Prediction, tuple[int, int]] = MappingProxyType({"epsilon": (512, 512), "v": (768, 768)})
"""Width and height that an SD 2 was trained at: "512-base" predicts noise, "768-v" predicts v."""

_PREDICTIONS: Mapping[str, Prediction] = MappingProxyType(
    {"epsilon": "epsilon", "eps": "epsilon", "v": "v", "vpred": "v", "v_pred": "v", "v_prediction": "v"}
)

# The text encoders' places in the file hold for any width.
_TEXT_ENCODERS: tuple[tuple[str, Family], ...] = (
    ("conditioner.embedders.1.model.", "sdxl"),
    ("conditioner.embedders.0.transformer.", "sdxl"),
    ("conditioner.embedders.0.model.", "sdxl_refiner"),
    ("cond_stage_model.model.", "sd2"),
    ("cond_stage_model.transformer.", "sd1"),
)
_CONTEXT_KEY = re.compile(r"attn2[._]to_k[._]weight$")


class HasShape(Protocol):
    """A tensor, or the stub of one."""

    @property
    def shape(self) -> Sequence[int]:
        """Its lengths."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """What a checkpoint is. `prediction` is None where the file does not show it.

    `width` is that of the text its cross-attention looks at. `missing` names the parts that must come from elsewhere.
    """

    family: Family
    variant: Variant = "base"
    prediction: Prediction | None = None
    is_ztsnr: bool = False
    width: int | None = None
    missing: tuple[str, ...] = ()

    @property
    def native_size(self) -> tuple[int, int] | None:
        """Width and height where the family alone does not decide them."""
        return SIZE_OF_PREDICTION[self.prediction] if self.family == "sd2" and self.prediction else None


def architecture(
    path: Path, tensors: Mapping[str, HasShape], metadata: Mapping[str, str] = MappingProxyType({})
) -> Architecture:
    """What a checkpoint in the original layout is. Reads no weights.

    Raises BadFile for a file that is no such checkpoint, or one of a family that Tagbrush does not draw with; it names
    what the file is instead, and where it belongs.
    """
    refuse_others(path, tensors)
    width = context_width(tensors)
    family = _family(tensors, width)
    if not family:
        raise BadFile(path, "is a checkpoint of an unknown kind. Tagbrush loads Stable Diffusion 1, 2 and XL.")
    return Architecture(
        family=family,
        variant=_variant(path, tensors),
        prediction=_prediction(tensors, metadata, family),
        is_ztsnr="ztsnr" in tensors,
        width=width,
        missing=_missing(tensors),
    )


def refuse_others(path: Path, names: Iterable[str]) -> None:
    """Nothing, if the names are those of an SD 1, SD 2 or SDXL checkpoint in the original layout. Raises BadFile."""
    names = tuple(names)
    for telling, what in _OTHER_FAMILIES:
        if any(telling.search(name) for name in names):
            raise unsupported(path, what)
    if any(name.startswith(f"{UNET}input_blocks.") for name in names):
        return
    if any(name.startswith(UNET) for name in names):
        raise BadFile(path, "holds only parts of a UNet. Download it again.")
    reason = mistaken_for("a checkpoint", names)
    raise BadFile(path, reason or "is no Stable Diffusion checkpoint: it has none of the UNet's weights.")


def unsupported(path: Path, what: str) -> BadFile:
    """The error for a model that is known and not supported."""
    return BadFile(path, f"is a checkpoint of {what}, which Tagbrush does not draw with. Choose another one.")


def mistaken_for(wanted: str, names: Iterable[str]) -> str:
    """What a file with tensors of these names is, which is not what was `wanted` ("a LoRA"), and where it belongs.

    "" where its names do not tell.
    """
    names = tuple(names)
    for telling, what, place in _KINDS:
        if what != wanted and any(telling.search(name) for name in names):
            return f"is {what}, not {wanted}. Its place is {place}."
    return ""


_OTHER_FAMILIES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), what)
    for pattern, what in (
        (r"joint_blocks\.|^model\.diffusion_model\.x_embedder\.", "Stable Diffusion 3"),
        (r"(?<!single_)double_blocks\.\d+\.", "Flux"),
        (r"^cond_stage_model\.roberta\.", "AltDiffusion"),
        (r"^(noise_augmentor|embedder\.model)\.", "unCLIP"),
        (r"^depth_model\.", "SD 2 depth"),
        (r"^edm_(mean|std|vpred)", EDM_SDXL),
        (r"\.time_stack\.|\.time_mixer\.", "Stable Video Diffusion"),
        (r"^cc_projection\.", "Zero-1-to-3"),
        (r"^(clf|clip_mapper|effnet)\.|^model\.diffusion_model\.clf\.", "Stable Cascade"),
    )
)
_KINDS: tuple[tuple[re.Pattern[str], str, str], ...] = tuple(
    (re.compile(pattern), what, place)
    for pattern, what, place in (
        (r"^model\.diffusion_model\.", "a checkpoint", "models/Stable-diffusion"),
        (
            r"^(lora_unet_|lora_te|lycoris_|oft_unet_|base_model\.model\.)"
            r"|\.(lora[._](up|down|A|B)|hada_w1_a|lokr_w1|oft_blocks)",
            "a LoRA",
            "models/Lora",
        ),
        (r"^(control_model\.|controlnet_)", "a ControlNet", "models/ControlNet"),
        (r"^(first_stage_model\.)?(encoder\.down\.|decoder\.(up\.|conv_in\.weight$))", "a VAE", "models/VAE"),
        (r"^(emb_params|clip_l|clip_g|\*|string_to_param)$", "an embedding", "embeddings"),
        (
            r"^down_blocks\.",
            "the UNet of a diffusers folder",
            "inside that folder (unet/), beside its model_index.json",
        ),
    )
)


def context_width(tensors: Mapping[str, HasShape]) -> int | None:
    """The width of the text that cross-attention looks at; None in a file without any."""
    for name, tensor in tensors.items():
        if name.startswith(UNET) and _CONTEXT_KEY.search(name) and len(tensor.shape) >= 2:
            return int(tensor.shape[1])
    return None


def _family(tensors: Mapping[str, HasShape], width: int | None) -> Family:
    for prefix, family in _TEXT_ENCODERS:
        if any(name.startswith(prefix) for name in tensors):
            return family
    return FAMILY_OF_WIDTH.get(width or 0, "")


def _variant(path: Path, tensors: Mapping[str, HasShape]) -> Variant:
    if CONV_IN not in tensors:
        return "base"
    shape = tensors[CONV_IN].shape
    channels = int(shape[1]) if len(shape) == 4 else 0
    if channels == 5:
        raise unsupported(path, "SD 2 depth")
    if channels not in VARIANT_OF_CHANNELS:
        raise BadFile(path, f"reads {channels} channels; 4 (plain), 8 (pix2pix) and 9 (inpainting) are known.")
    return VARIANT_OF_CHANNELS[channels]


def _prediction(tensors: Mapping[str, HasShape], metadata: Mapping[str, str], family: Family) -> Prediction | None:
    """By the mark of a v-predicting SDXL (D018), else by the metadata; only an SD 2 leaves it open.

    What the metadata has under no known name counts as not said: A1111 never reads it.
    """
    said = "v" if "v_pred" in tensors else named_prediction(metadata.get("modelspec.prediction_type", ""))
    if said is not None:
        return said
    if family != "sd2":
        return "epsilon"
    made = metadata.get("modelspec.architecture", "").lower()
    if made.startswith("stable-diffusion-v2-768-v"):
        return "v"
    return "epsilon" if made.startswith("stable-diffusion-v2-512") else None


def named_prediction(name: str) -> Prediction | None:
    """The prediction type under any of its names; None for one that means nothing here."""
    return _PREDICTIONS.get(name.strip().lower().replace("-", "_"))


def holds_vae(names: Container[str], prefix: str = "") -> bool:
    """Whether tensors of these names, below a prefix, are a VAE: both halves of it, and not what a merge left over."""
    return all(f"{prefix}{half}.conv_in.weight" in names for half in ("encoder", "decoder"))


def _missing(tensors: Mapping[str, HasShape]) -> tuple[str, ...]:
    places = ("cond_stage_model.", "conditioner.embedders.")
    has_text_encoder = any(name.startswith(places) for name in tensors)
    found = {"text encoder": has_text_encoder, "VAE": holds_vae(tensors, VAE)}
    return tuple(part for part, is_there in found.items() if not is_there)


def usable_size(sides: Sequence[int]) -> tuple[int, int] | None:
    """Width and height of one or two sides in pixels; None where no picture can be of that size."""
    usable = 1 <= len(sides) <= 2 and all(LATENT_PIXELS <= side <= LARGEST_SIDE for side in sides)
    return (sides[0], sides[-1]) if usable else None
