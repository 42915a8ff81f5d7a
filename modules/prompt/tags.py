"""Tags: `<lora:name:0.8>` and its kin, taken out of the prompt and read (P050-P054, P059)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from types import MappingProxyType
from typing import Literal

from modules.params import TAG_KINDS


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag as it stands in a prompt. `kind` is what it means, or what was written where that is unknown.

    `args` are the unnamed arguments, the first of them always a name; `named` those of the form `key=value`.
    """

    kind: str
    args: tuple[str, ...]
    named: Mapping[str, str] = field(hash=False)
    text: str


@dataclass(frozen=True, slots=True)
class NetworkTag:
    """A tag that was understood: which network, and how strongly on the text encoder and on the UNet.

    A hypernetwork has one multiplier, given as both. `dyn` keeps that many ranks of a LoRA; None keeps all.
    """

    kind: Literal["lora", "hypernet"]
    name: str
    te: float
    unet: float
    dyn: int | None = None


@dataclass(frozen=True, slots=True)
class TagProblem:
    """Why a tag, or a part of it, has no effect, in words for the user."""

    tag: Tag
    message: str


def extract_tags(text: str, kinds: Mapping[str, str] = TAG_KINDS) -> tuple[str, tuple[Tag, ...]]:
    """The text without its tags, and the tags in order, of unknown kinds too.

    A kind is a word; one with a hyphen only where it is in `kinds` (P050). Nothing around a tag changes.
    """
    found: list[Tag] = []

    def take(match: re.Match[str]) -> str:
        found.append(_tag(match, kinds))
        return ""

    # Every tag ends in ">": a search that stops at the last one never runs to the end in vain.
    end = text.rfind(">") + 1
    return _pattern(kinds).sub(take, text[:end]) + text[end:], tuple(found)


def read_tag(tag: Tag, kinds: Iterable[str] = TAG_KINDS) -> tuple[NetworkTag | None, tuple[TagProblem, ...]]:
    """What a tag asks for, or None, and what has to be told about it: each tag fails alone (P052, P059)."""
    if tag.kind not in _READERS:
        return None, (TagProblem(tag, _unknown(tag.kind, kinds)),)
    try:
        network, unread = _READERS[tag.kind](tag)
    except _Malformed as reason:
        return None, (TagProblem(tag, f"{tag.text} has no effect: {reason}"),)
    return network, tuple(
        TagProblem(tag, f'{tag.text}: "{part}" is not understood and has no effect.') for part in unread
    )


def append_tags(text: str, networks: Iterable[NetworkTag]) -> str:
    """The text with a tag for each network that it does not name yet (P061)."""
    networks = tuple(networks)
    named = {(tag.kind, tag.args[0]) for tag in extract_tags(text)[1]} if networks else set()
    wanted = (network for network in networks if (network.kind, network.name) not in named)
    return text + "".join(f"<{network.kind}:{network.name}:{network.te}>" for network in wanted)


class _Malformed(Exception):
    """The reason why a tag cannot be used."""


def _pattern(kinds: Mapping[str, str]) -> re.Pattern[str]:
    hyphened = "".join(f"|{re.escape(kind)}" for kind in kinds if "-" in kind)
    return re.compile(rf"<(\w+{hyphened}):([^>]+)>")


def _tag(match: re.Match[str], kinds: Mapping[str, str]) -> Tag:
    kind, (name, *rest) = match[1], match[2].split(":")
    # Only the name may contain a "=" and still be itself; a part with two of them is no key and value either.
    named = dict(part.split("=") for part in rest if part.count("=") == 1)
    args = (name, *(part for part in rest if part.count("=") != 1))
    return Tag(kinds.get(kind, kind), args, named, match[0])


def _unknown(kind: str, kinds: Iterable[str]) -> str:
    near = get_close_matches(kind.casefold(), tuple(kinds), n=1)
    advice = f'Did you mean "{near[0]}"?' if near else f"Known kinds: {', '.join(sorted(kinds))}."
    return f'Tag kind "{kind}" is unknown. {advice}'


def _read_lora(tag: Tag) -> tuple[NetworkTag, list[str]]:
    """`<lora:name:te:unet:dyn>`; `te` defaults to 1 and `unet` to `te`; a named value wins (P053)."""
    arguments = dict(zip(("te", "unet", "dyn"), tag.args[1:], strict=False)) | tag.named
    te = _number(arguments, "te", 1.0)
    network = NetworkTag("lora", _name(tag), te, _number(arguments, "unet", te), _rank(arguments))
    return network, [*tag.args[4:], *_unread(tag, {"te", "unet", "dyn"})]


def _read_hypernet(tag: Tag) -> tuple[NetworkTag, list[str]]:
    """`<hypernet:name:multiplier>`; the multiplier defaults to 1 (P054)."""
    multiplier = _number(dict(zip(("multiplier",), tag.args[1:], strict=False)), "multiplier", 1.0)
    return NetworkTag("hypernet", _name(tag), multiplier, multiplier), [*tag.args[2:], *_unread(tag, set())]


_READERS: Mapping[str, Callable[[Tag], tuple[NetworkTag, list[str]]]] = MappingProxyType(
    {"lora": _read_lora, "hypernet": _read_hypernet}
)


def _unread(tag: Tag, known: set[str]) -> list[str]:
    return [f"{key}={value}" for key, value in tag.named.items() if key not in known]


def _name(tag: Tag) -> str:
    if not tag.args[0]:
        raise _Malformed("it names no network.")
    return tag.args[0]


def _number(arguments: Mapping[str, str], what: str, default: float) -> float:
    written = arguments.get(what)
    if written is None:
        return default
    try:
        number = float(written)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise _Malformed(f'{what} is "{written}". Give a number, such as 0.8.')
    return number


def _rank(arguments: Mapping[str, str]) -> int | None:
    written = arguments.get("dyn")
    if written is None:
        return None
    digits = written.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) < 10 and int(digits) >= 1):
        raise _Malformed(f'dyn is "{written}". Give a whole number of 1 or more.')
    return int(digits)
