"""Which family of models a network was made for, and what people call it (D047)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from .families import FAMILY_OF_WIDTH, Family

FAMILY_NAMES: Mapping[Family, str] = MappingProxyType(
    {
        "sd1": "SD 1",
        "sd2": "SD 2",
        "sdxl": "SDXL",
        "sdxl_refiner": "SDXL refiner",
        "sd3": "SD 3",
        "flux": "Flux",
        "wan": "Wan",
        "hunyuan": "HunyuanVideo",
        "lumina": "Lumina",
    }
)
"""Short name -> the name that a person knows."""

_WITH_AN = frozenset({"sd1", "sd2", "sdxl", "sdxl_refiner", "sd3"})
_KIN: Mapping[str, Family] = MappingProxyType({"sdxl_refiner": "sdxl"})
"""Families whose networks are tried on another: the refiner has one of SDXL's two text encoders."""

_TELLING_NAMES: tuple[tuple[re.Pattern[str], Family], ...] = (
    (re.compile(r"single_(transformer_)?blocks"), "flux"),
    (re.compile(r"double_blocks"), "flux"),
    (re.compile(r"joint_blocks|attn\.add_[kqv]_proj"), "sd3"),
    (re.compile(r"^(lora_te2|lycoris_te2)_|^text_encoder_2\.|(^|[._])label_emb[._]"), "sdxl"),
    (re.compile(r"(attentions[._]\d+|block(s[._]\d+)?[._]1)[._]transformer_blocks[._][1-9]"), "sdxl"),
)
"""Names of layers that one family alone has."""

_METADATA: tuple[tuple[str, re.Pattern[str], Family], ...] = tuple(
    (key, re.compile(pattern, re.IGNORECASE), family)
    for key, pattern, family in (
        ("ss_base_model_version", "^sdxl", "sdxl"),
        ("ss_base_model_version", "^sd_v1|^sd_1", "sd1"),
        ("ss_base_model_version", "^sd_v2|^sd_2", "sd2"),
        ("ss_base_model_version", "^sd3", "sd3"),
        ("ss_base_model_version", "^flux", "flux"),
        ("ss_base_model_version", "^wan", "wan"),
        ("ss_base_model_version", "^hunyuan", "hunyuan"),
        ("ss_base_model_version", "^lumina", "lumina"),
        ("ss_v2", "^true$", "sd2"),
        ("modelspec.architecture", "^stable-diffusion-xl", "sdxl"),
        ("modelspec.architecture", "^stable-diffusion-v1", "sd1"),
        ("modelspec.architecture", "^stable-diffusion-v2", "sd2"),
        ("modelspec.architecture", "^stable-diffusion-3", "sd3"),
        ("modelspec.architecture", "^flux", "flux"),
    )
)


def family_of_names(names: Iterable[str]) -> Family:
    """The one family whose layers these are, or "" where the names do not tell."""
    for name in names:
        for pattern, family in _TELLING_NAMES:
            if pattern.search(name):
                return family
    return ""


def family_of_metadata(metadata: Mapping[str, str]) -> Family:
    """The family that a file says it was trained on, or "" where it says nothing known here."""
    for key, pattern, family in _METADATA:
        if pattern.search(str(metadata.get(key, ""))):
            return family
    return ""


def family_of_widths(widths: Iterable[int]) -> Family:
    """The one family whose text is of one of these widths, or "" where they do not tell.

    That of the refiner's text does not: it is also a width inside every UNet.
    """
    shown = {FAMILY_OF_WIDTH.get(width, "") for width in widths} - {"", "sdxl_refiner"}
    return shown.pop() if len(shown) == 1 else ""


def is_tried_on(made_for: str, family: str) -> bool:
    """Whether what was made for one family, or nobody knows which, may work with a model of another."""
    return made_for in ("", family, _KIN.get(family))


def called(family: str) -> str:
    """What people call the family: "SDXL"; an unknown one is "another kind of model"."""
    return FAMILY_NAMES.get(family, family or "another kind of model")  # type: ignore[call-overload]


def a_model(family: str) -> str:
    """ "an SD 1 model", for the middle of a sentence."""
    if not family:
        return "a model of another kind"
    return f"{'an' if family in _WITH_AN else 'a'} {called(family)} model"
