"""The kinds of tags that prompts may hold (P050)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

TAG_KINDS: Mapping[str, str] = MappingProxyType(
    {"lora": "lora", "lyco": "lora", "be-lora": "lora", "hypernet": "hypernet"}
)
"""The kinds that are known, as written -> what they mean."""
