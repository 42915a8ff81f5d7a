"""What LoRA files say of themselves, as A1111 tells it: most often it is read from many files, and seldom changes."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from modules.catalogue import Entry
from modules.catalogue.examine import full_metadata
from modules.catalogue.texts import sendable
from modules.params import BadFile

KEPT = 64 * 2**20
"""Bytes that are remembered, packed, all files together; what is beyond is read again each time."""

FAST = 1
"""The level of packing: lists of tags shrink well at any, and are unpacked far sooner than read."""

DEEPEST = 32
"""Levels of lists and objects in a value: JSON of more stays the text that it is, since few programs could read it."""

FIRST = ("ss_sd_model_name", "ss_resolution", "ss_clip_skip", "ss_num_train_images", "ss_tag_frequency")
"""The keys that come before all others, in this order."""

Stamp = tuple[Path, int, int]


class LoraTexts:
    """The metadata of files as JSON objects, each remembered while its file stays as it is; for any thread."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._known: Mapping[Stamp, bytes] = {}

    def of(self, entries: Sequence[Entry]) -> list[str]:
        """The JSON of each entry in turn; an empty object for a file that cannot be read, or says nothing."""
        known = self._known
        stamps = [(entry.path, entry.size, entry.mtime_ns) for entry in entries]
        packed = [known.get(stamp) or _packed(stamp[0]) for stamp in stamps]
        self._known = _beginning(zip(stamps, packed, strict=True), self._kept)
        return [zlib.decompress(text).decode() if text else "{}" for text in packed]


def _beginning(read: Iterable[tuple[Stamp, bytes]], room: int) -> Mapping[Stamp, bytes]:
    """As many of them as there is room for."""
    kept: dict[Stamp, bytes] = {}
    for stamp, text in read:
        if text and len(text) <= room:
            kept[stamp] = text
            room -= len(text)
    return kept


def _packed(path: Path) -> bytes:
    """What the file says, packed; nothing where it cannot be read just now."""
    try:
        return zlib.compress(_text(full_metadata(path)).encode(), FAST)
    except BadFile:
        return b""


def _text(metadata: Mapping[str, str]) -> str:
    """The metadata as JSON, values that are objects in JSON themselves taken apart."""
    places = {name: place for place, name in enumerate(FIRST)}
    ordered = sorted(metadata, key=lambda name: places.get(name, len(FIRST)))
    return f"{{{', '.join(f'{json.dumps(name)}: {_value(metadata[name])}' for name in ordered)}}}"


def _value(text: str) -> str:
    """The JSON of a value: of the object in it, or of a text where there is none that everyone could read."""
    if text.startswith("{"):
        try:
            value = json.loads(text)
            if _is_within(DEEPEST, value):
                return json.dumps(sendable(value), ensure_ascii=False, allow_nan=False)
        except (ValueError, RecursionError):
            pass
    return json.dumps(text, ensure_ascii=False)


def _is_within(levels: int, value: Any) -> bool:
    """Whether lists and objects are in each other no deeper than so many levels."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return inner is None or (levels > 0 and all(_is_within(levels - 1, item) for item in inner))
