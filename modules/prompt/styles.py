"""Styles: named texts that are merged into a prompt, and found in it again (P070, P072)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

_PLACE = "{prompt}"


@dataclass(frozen=True, slots=True)
class Style:
    """A style of `styles.csv`; a text with `{prompt}` goes around the prompt, any other after it."""

    name: str
    prompt: str = ""
    negative_prompt: str = ""


class Unstyled(NamedTuple):
    """A pair of prompts without the styles that were found in it, and their names in the order of their selection."""

    prompt: str
    negative_prompt: str
    names: tuple[str, ...]


def apply_styles(prompt: str, texts: Sequence[str]) -> str:
    """The prompt with the styles' texts merged in, in order, each into the result of those before it."""
    for text in texts:
        prompt = _merge(prompt, text)
    return prompt


def extract_styles(prompt: str, negative_prompt: str, styles: Sequence[Style]) -> Unstyled:
    """The prompts without every style whose positive and negative text both fit, the last merged first."""
    left = [style for style in styles if style.prompt or style.negative_prompt]
    names: list[str] = []
    while True:
        for style in left:
            positive, negative = _unmerge(prompt, style.prompt), _unmerge(negative_prompt, style.negative_prompt)
            if positive is not None and negative is not None:
                break
        else:
            return Unstyled(prompt, negative_prompt, tuple(reversed(names)))
        prompt, negative_prompt = positive, negative
        names.append(style.name)
        left.remove(style)


def _merge(prompt: str, text: str) -> str:
    if _PLACE in text:
        return text.replace(_PLACE, prompt)
    return ", ".join(part for part in (prompt.strip(), text.strip()) if part)


def _unmerge(prompt: str, text: str) -> str | None:
    """The prompt that `text` was merged into, or None where it was not."""
    prompt, text = prompt.strip(), text.strip()
    if _PLACE in text:
        places = text.count(_PLACE)
        spare = len(prompt) - len(text.replace(_PLACE, ""))
        start = text.index(_PLACE)
        found = prompt[start : start + spare // places]
        return found if spare >= 0 and text.replace(_PLACE, found) == prompt else None
    if text in ("", prompt):
        return prompt.removesuffix(text)
    return prompt.removesuffix(f", {text}") if prompt.endswith(f", {text}") else None
