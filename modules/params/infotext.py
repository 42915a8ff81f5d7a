"""The text A1111 writes into its pictures: prompt, negative prompt, and one line of `Key: value` pairs.

Format as A1111 1.10.1 writes it; behaviour is held by reference texts in the tests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

NEGATIVE = "Negative prompt:"
LEAST_PAIRS = 3

# The order in which A1111 1.10 writes what it knows (I012, I013); other keys follow, Version last. The keys behind RNG
# come as its parts note them: the request's own, the networks', the text encoder's, then those of sampling.
KEY_ORDER = (
    "Steps", "Sampler", "Schedule type", "CFG scale", "Image CFG scale", "Seed", "Face restoration", "Size",
    "Model hash", "Model", "FP8 weight", "Cache FP16 weight for LoRA", "VAE hash", "VAE",
    "Variation seed", "Variation seed strength", "Seed resize from", "Denoising strength", "Conditional mask weight",
    "Clip skip", "ENSD", "Token merging ratio", "Token merging ratio hr", "Init image hash", "RNG", "Tiling",
    "SD upscale overlap", "SD upscale upscaler", "SD upscale scale",
    "Soft inpainting enabled", "Soft inpainting schedule bias", "Soft inpainting preservation strength",
    "Soft inpainting transition contrast boost", "Soft inpainting mask influence",
    "Soft inpainting difference threshold", "Soft inpainting difference contrast",
    "Extra noise", "Noise multiplier",
    "Mask mode", "Mask blur", "Inpaint area", "Masked area padding", "Masked content",
    "Hires checkpoint", "Hires sampler", "Hires prompt", "Hires negative prompt", "Hires schedule type",
    "Hires CFG Scale", "Hires upscale", "Hires resize", "Hires steps", "Hires upscaler",
    "Lora hashes", "TI hashes", "Emphasis", "Old prompt editing timelines",
    "Noise Schedule", "Downcast alphas_cumprod", "VAE Encoder", "VAE Decoder",
    "Discard penultimate sigma", "Schedule min sigma", "Schedule max sigma", "Schedule rho",
    "Beta schedule alpha", "Beta schedule beta", "SGM noise multiplier",
    "Eta", "Eta DDIM", "Sigma churn", "Sigma tmin", "Sigma tmax", "Sigma noise",
    "UniPC variant", "UniPC skip type", "UniPC order", "UniPC lower order final",
    "Pad conds", "Pad conds v0", "NGMS", "NGMS all steps", "Skip Early CFG",
    "Hires refiner", "Refiner switch by sampling steps", "Refiner", "Refiner switch at",
)  # fmt: skip
LAST_KEYS = ("Version", "User")

# Possessive, and past a run of words without a colon in one step: a prompt of any length is read in linear time.
_PAIR = re.compile(
    r"""
    (?P<key> \w [\w\ \-/]++ ) : \s*+
    (?P<value> "(?: \\. | [^\\"] )++" (?= , | $ ) | [^,]* )   # a JSON string, or anything up to a comma
    (?: , | $ )
    | \w [\w\ \-/]*+                                         # no key
    """,
    re.VERBOSE,
)
_SIZE = re.compile(r"(\d+)x(\d+)")


@dataclass(frozen=True)
class Infotext:
    """What a picture's text says. `fields` keeps the order of the text, values as written, unquoted."""

    prompt: str = ""
    negative_prompt: str = ""
    fields: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def format_infotext(info: Infotext) -> str:
    """The text of `info`, its keys in A1111's order."""
    pairs = ", ".join(
        key if key == info.fields[key] else f"{key}: {quote(info.fields[key])}" for key in _ordered(info.fields)
    )
    negative = f"\n{NEGATIVE} {info.negative_prompt}" if info.negative_prompt else ""
    return f"{info.prompt}{negative}\n{pairs}".strip()


def parse_infotext(text: str) -> Infotext:
    """What `text` says. The last line holds the pairs if it has at least three; else all of it is prompt."""
    *lines, last = text.strip().split("\n")
    pairs = [pair for pair in _PAIR.finditer(last) if pair["key"]]
    if len(pairs) < LEAST_PAIRS:
        lines, pairs = [*lines, last], []
    prompt: list[str] = []
    negative: list[str] = []
    target = prompt
    for line in (line.strip() for line in lines):
        if line.startswith(NEGATIVE):
            target = negative
            line = line.removeprefix(NEGATIVE).strip()
        target.append(line)
    fields = {pair["key"]: unquote(pair["value"]) for pair in pairs if pair["value"]}
    return Infotext(_text(prompt), _text(negative), MappingProxyType(fields))


def _text(lines: Sequence[str]) -> str:
    """The lines from the first that is not empty."""
    return "\n".join(lines).lstrip("\n")


def split_sizes(fields: Mapping[str, str]) -> dict[str, str]:
    """`fields` with every `WxH` value as two: `Size: 512x768` becomes `Size-1: 512` and `Size-2: 768`."""
    result: dict[str, str] = {}
    for key, value in fields.items():
        if size := _SIZE.fullmatch(value):
            result[f"{key}-1"], result[f"{key}-2"] = size.groups()
        else:
            result[key] = value
    return result


def quote(value: str) -> str:
    """`value` as it stands between commas: a JSON string if it holds a comma, a colon or a newline."""
    return json.dumps(value, ensure_ascii=False) if re.search(r"[,:\n]", value) else value


def unquote(value: str) -> str:
    """The inverse of `quote`; what is not a JSON string is kept as it is."""
    if len(value) < 2 or value[0] != '"' or value[-1] != '"':
        return value
    try:
        loaded = json.loads(value)
    except ValueError:
        return value
    return loaded if isinstance(loaded, str) else value


def listed_name(name: str) -> str:
    """A network's name as lists of hashes have it: without what parts their entries."""
    return name.replace(":", "").replace(",", "").strip()


def _ordered(fields: Mapping[str, str]) -> list[str]:
    known = [key for key in KEY_ORDER if key in fields]
    last = [key for key in LAST_KEYS if key in fields]
    return known + [key for key in fields if key not in KEY_ORDER and key not in LAST_KEYS] + last
