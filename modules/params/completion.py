"""What a text leaves unsaid: the defaults, the old spellings, and what old versions did otherwise (I015, I016)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from .infotext import Infotext, split_sizes
from .sizes import OLD_SIDE, old_first_pass

ABSENT: Mapping[str, str] = MappingProxyType(
    {
        "Clip skip": "1",
        "Hires resize-1": "0",
        "Hires resize-2": "0",
        "Hires sampler": "Use same sampler",
        "Hires schedule type": "Use same scheduler",
        "Hires checkpoint": "Use same checkpoint",
        "Hires prompt": "",
        "Hires negative prompt": "",
        "Mask mode": "Inpaint masked",
        "Masked content": "original",
        "Inpaint area": "Whole picture",
        "Masked area padding": "32",
        "RNG": "GPU",
        "Schedule type": "Automatic",
        "Schedule max sigma": "0",
        "Schedule min sigma": "0",
        "Schedule rho": "0",
        "VAE Encoder": "Full",
        "VAE Decoder": "Full",
        "FP8 weight": "Disable",
        "Refiner switch by sampling steps": "False",
    }
)
"""What A1111 1.10 takes for granted where a key is missing."""

_VERSION = re.compile(r"v?(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?(?:-(\d{1,6})(?![\w.])|-?(RC|rc)\w*)?(?=$|-)")
_BEFORE_RELEASE = -1
_ADDNET_NAME = re.compile(r"(.*?)\s*\([0-9a-fA-F]+\)")

Version = tuple[int, int, int, int]


def complete(info: Infotext, *, backcompat: bool = True) -> Infotext:
    """The text with every key that A1111 1.10 finds in it: sizes in two, defaults, old spellings in today's.

    Keys of old versions' networks become tags at the end of the prompt. `backcompat` adds what an old version did
    otherwise.
    """
    fields = split_sizes(info.fields)
    prompt = info.prompt + _hypernetwork_tag(fields) + _addnet_tags(fields)
    if "Emphasis" not in fields and _has_emphasis(prompt, info.negative_prompt):
        fields["Emphasis"] = "Original"
    fields = {**ABSENT, **fields}
    if fields["FP8 weight"] != ABSENT["FP8 weight"]:
        fields.setdefault("Cache FP16 weight for LoRA", "False")
    fields |= _old_hires(fields)
    if backcompat:
        fields |= _of_old_version(fields, prompt)
    return Infotext(prompt, info.negative_prompt, MappingProxyType(fields))


def parse_version(text: str) -> Version | None:
    """(major, minor, patch, commits since) of a version of A1111's, such as v1.7.0-225-g0ad5a3f; None for another's.

    A release candidate comes before its release.
    """
    found = _VERSION.match(text.strip())
    if found is None:
        return None
    major, minor, patch, commits = (int(part or 0) for part in found.group(1, 2, 3, 4))
    return major, minor, patch, _BEFORE_RELEASE if found[5] else commits


def _of_old_version(fields: Mapping[str, str], prompt: str) -> dict[str, str]:
    """The settings that make today's A1111 do what the version that wrote the text did (I016)."""
    version = parse_version(fields.get("Version", ""))
    if version is None:
        return {}
    implied = {
        "Old prompt editing timelines": version < (1, 6, 0, 0) and "[" in prompt,
        "Pad conds v0": version < (1, 6, 0, 0) and fields.get("Sampler") in ("DDIM", "PLMS"),
        "Downcast alphas_cumprod": version < (1, 7, 0, 225),
        "Refiner switch by sampling steps": version < (1, 8, 0, 0) and "Refiner" in fields,
    }
    return {key: "True" for key, is_implied in implied.items() if is_implied}


def _hypernetwork_tag(fields: Mapping[str, str]) -> str:
    """The tag for the one hypernetwork that was a setting until tags came."""
    name = fields.get("Hypernet")
    return f"<hypernet:{name}:{fields.get('Hypernet strength', '1.0')}>" if name is not None else ""


def _addnet_tags(fields: Mapping[str, str]) -> str:
    """The tags, on a line of their own, for the LoRAs of the extension Additional Networks."""
    tags = []
    for key, name in fields.items():
        number = key.removeprefix("AddNet Model ")
        if number != key and fields.get(f"AddNet Module {number}") == "LoRA":
            bare = _ADDNET_NAME.match(name)
            tags.append(f"<lora:{bare[1] if bare else name}:{fields.get(f'AddNet Weight A {number}', '1.0')}>")
    return "\n" + "".join(tags) if tags else ""


def _has_emphasis(*prompts: str) -> bool:
    """Whether a prompt has a bracket that is not escaped: then the emphasis mode changes the picture."""
    return any(re.search(r"[(\[]", re.sub(r"\\.", "", prompt, flags=re.DOTALL)) for prompt in prompts)


def _old_hires(fields: Mapping[str, str]) -> dict[str, str]:
    """Today's sizes for a text from before hires fix had a scale: `Size` was the final size then."""
    first = _sides(fields.get("First pass size-1"), fields.get("First pass size-2"))
    if first is None:
        return {}
    final = _sides(fields.get("Size-1"), fields.get("Size-2")) or (OLD_SIDE, OLD_SIDE)
    width, height = first if 0 not in first else old_first_pass(*final)
    return {
        "Size-1": str(width),
        "Size-2": str(height),
        "Hires resize-1": str(final[0]),
        "Hires resize-2": str(final[1]),
    }


def _sides(width: str | None, height: str | None) -> tuple[int, int] | None:
    """Two sides in pixels; None where one is not said, or is no size of any picture."""
    try:
        sides = int(width or ""), int(height or "")
    except ValueError:
        return None
    return sides if all(0 <= side < 100_000 for side in sides) else None
