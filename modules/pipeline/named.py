"""Which networks and embeddings the prompts of a picture name, and what of them cannot be had."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Literal

from modules.catalogue import Catalogue, Entry, Kind
from modules.models import Pass
from modules.networks import LABELS
from modules.params import UnknownName
from modules.prompt import Emphasis, ParsedPrompt, Tokenizer, embedding_words, find_embeddings, read_tag

from .plans import NetworkUse

Tell = Callable[[str], None]
CATALOGUE_KINDS: Mapping[str, Kind] = MappingProxyType({"lora": "lora", "hypernet": "hypernetwork"})


def find_networks(prompt: ParsedPrompt, on: Pass, catalogue: Catalogue, tell: Tell) -> tuple[NetworkUse, ...]:
    """The networks that a prompt's tags name, in order; each that cannot be had is told and left out (P056)."""
    uses = []
    for tag in prompt.tags:
        network, problems = read_tag(tag)
        for problem in problems:
            tell(problem.message)
        if network is None:
            continue
        entry = _find(network.kind, network.name, catalogue, tell)
        if entry is not None:
            uses.append(NetworkUse(network.kind, entry, network.name, network.te, network.unet, network.dyn, on))
    return tuple(uses)


def _find(kind: Literal["lora", "hypernet"], name: str, catalogue: Catalogue, tell: Tell) -> Entry | None:
    matches = catalogue.matches(CATALOGUE_KINDS[kind], name)
    if not matches:
        known = [entry.insert for entry in catalogue.entries(CATALOGUE_KINDS[kind])]
        tell(f"{UnknownName(LABELS[kind], name, known)} The picture is made without it.")
        return None
    if len(matches) > 1:
        others = ", ".join(entry.relative for entry in matches[1:])
        tell(f'{LABELS[kind]} "{name}" is the name of several files: {matches[0].relative} is used, not {others}.')
    return matches[0]


def find_embedding_files(
    prompts: Iterable[ParsedPrompt],
    catalogue: Catalogue,
    tokenizer: Tokenizer,
    *,
    width: int | None,
    mode: Emphasis,
    tell: Tell,
) -> tuple[Entry, ...]:
    """The embeddings that the prompts name, in order; one that cannot be used is told, and its name stays plain words.

    `width` is that of the model's text encoder, where it is known: embeddings of another are for other models.
    """
    prompts = tuple(prompts)
    named = _possibly_named(prompts, catalogue.current_entries("embedding"))
    current = (catalogue.find("embedding", entry.relative) for entry in named)
    candidates = {entry.name: entry for entry in current if entry is not None}
    reasons = {name: reason for name, entry in candidates.items() if (reason := _unusable(entry, width))}
    fitting = {name: entry.vectors or 1 for name, entry in candidates.items() if name not in reasons}
    words, broken = embedding_words(fitting, tokenizer), embedding_words(dict.fromkeys(reasons, 1), tokenizer)
    used: dict[str, Entry] = {}
    for prompt in prompts:
        use = find_embeddings(prompt, tokenizer, words, mode=mode)
        used |= {name: candidates[name] for name in use.names}
        for notice in use.notices:
            tell(notice)
        for name in find_embeddings(prompt, tokenizer, broken, mode=mode).names:
            tell(f'Embedding "{name}" was left out, its name is read as plain words: {reasons[name]}')
    return tuple(used.values())


def _unusable(entry: Entry, width: int | None) -> str | None:
    if entry.error is not None:
        return entry.error
    if None in (width, entry.width) or entry.width == width:
        return None
    return f"its vectors have {entry.width} numbers each, this checkpoint's have {width}. It is for another model."


def _possibly_named(prompts: Iterable[ParsedPrompt], entries: Iterable[Entry]) -> Iterator[Entry]:
    """The entries whose names may occur in the prompts: a quick look, so that thousands of others need not be read."""
    texts = [_bare(text) for prompt in prompts for text in prompt.texts()]
    return (entry for entry in entries if any(_bare(entry.name) in text for text in texts))


def _bare(text: str) -> str:
    """The letters and digits of ASCII in a text, in lower case: all that tokenising surely keeps, in order."""
    plain = unicodedata.normalize("NFKC", html.unescape(html.unescape(text))).casefold()
    return re.sub(r"[^a-z0-9]", "", plain)
