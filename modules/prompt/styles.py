"""Styles: named texts that are merged into a prompt, and found in it again (P070, P072)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

_PLACE = "{prompt}"


class Styled(Protocol):
    """A style, wherever it is kept."""

    @property
    def name(self) -> str: ...

    @property
    def prompt(self) -> str: ...

    @property
    def negative_prompt(self) -> str: ...


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


def merge_styles(prompt: str, negative_prompt: str, styles: Iterable[Styled]) -> tuple[str, str]:
    """Both prompts with the styles merged in, in order."""
    styles = tuple(styles)
    return (
        apply_styles(prompt, [style.prompt for style in styles]),
        apply_styles(negative_prompt, [style.negative_prompt for style in styles]),
    )


def apply_styles(prompt: str, texts: Iterable[str]) -> str:
    """The prompt with the styles' texts merged in, in order, each into the result of those before it."""
    for text in texts:
        prompt = _merge(prompt, text)
    return prompt


def unstyled_fields(fields: Mapping[str, Any], styles: Iterable[Styled], mode: str) -> dict[str, Any]:
    """The fields of a pasted text without the styles that are found in its prompts, and those chosen, as `mode` says.

    `mode` is A1111's option infotext_styles: Ignore, Apply, Discard or Apply if any (P072).
    """
    if mode == "Ignore":
        return dict(fields)
    found = extract_styles(fields["prompt"], fields["negative_prompt"], styles)
    plain = {**fields, "prompt": found.prompt, "negative_prompt": found.negative_prompt}
    if mode == "Apply" or (mode == "Apply if any" and found.names):
        plain["styles"] = list(found.names)
    return plain


def extract_styles(prompt: str, negative_prompt: str, styles: Iterable[Styled]) -> Unstyled:
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
