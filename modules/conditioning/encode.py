"""Prompts -> the contexts that the UNet reads at each step."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from modules.conditioning.cache import CachedStates, ConditioningCache, StateKey
from modules.conditioning.clip import Row, State, Vectors, read_row
from modules.conditioning.emphasis import emphasise
from modules.conditioning.micro import Micro, time_ids
from modules.conditioning.readings import OPEN_CLIP_PAD, Reading, readings
from modules.models import Model
from modules.params import TagbrushError
from modules.prompt import (
    EMPTY_CHUNK,
    Chunk,
    EmbeddingWords,
    Emphasis,
    ParsedPrompt,
    Tokenizer,
    chunk,
    chunk_the_old_way,
    embedding_words,
    parse_attention,
)
from modules.sampling import Context

Contexts = Mapping[str, Context]
Chunks = Mapping[str, Sequence[Chunk]]
ReadRow = Callable[[Reading, Row], State]
Tell = Callable[[str], None]


class OldEmphasisMisfit(TagbrushError):
    """The old way of emphasis, asked of a model that came after it."""


@dataclass(frozen=True, eq=False)
class Conditioning:
    """A prompt's parts, each a weight and its contexts (77 * chunks, width) with the last step that each one holds."""

    parts: tuple[tuple[float, tuple[tuple[int, Context], ...]], ...]

    def at(self, step: int) -> list[tuple[float, Context]]:
        """The weight and context of each part at model call `step`, counted from 0; the last one from its end on."""
        return [
            (weight, next((context for until, context in entries if step <= until), entries[-1][1]))
            for weight, entries in self.parts
        ]


@torch.inference_mode()
def encode(
    model: Model,
    prompts: Sequence[ParsedPrompt],
    *,
    tokenizer: Tokenizer,
    embeddings: Mapping[str, Vectors] | None = None,
    clip_skip: int = 1,
    emphasis: Emphasis = "Original",
    backtrack: int = 20,
    micro: Micro | None = None,
    negative: bool = False,
    sdxl_clip_l_skip: bool = False,
    old_emphasis: bool = False,
    cache: CachedStates | None = None,
    tell: Tell = lambda notice: None,
) -> tuple[Conditioning, ...]:
    """The conditioning of each prompt, in the model's dtype on its device.

    The texts of a part's schedule share one mean under "Original" emphasis (P022) and one length, the longest's (P080);
    parts and prompts do not influence each other. `micro` is read by SDXL alone; there, a negative prompt that says
    nothing at any step is all zeros rather than the encoding of nothing (P087). `old_emphasis` is the way of A1111
    before its chunks (P024); what it cuts off is told.

    Raises EmbeddingMisfit where an embedding was made for another text encoder, NoTextEncoder where the checkpoint
    lacks one, OldEmphasisMisfit where the model's text encoder came after the old way.
    """
    encoders = readings(model, clip_skip=clip_skip, clip_l_skip=sdxl_clip_l_skip)
    embeddings = embeddings or {}
    words = embedding_words(
        {name: next(iter(kinds.values())).shape[0] for name, kinds in embeddings.items()}, tokenizer
    )
    schedules = dict.fromkeys(
        tuple(entry.text for entry in entries) for prompt in prompts for _, entries in prompt.parts
    )
    texts = dict.fromkeys(text for schedule in schedules for text in schedule)
    if old_emphasis:
        chunks = _chunks_the_old_way(texts, encoders, tokenizer, words, emphasis, tell)
    else:
        chunks = {text: chunk(parse_attention(text, emphasis), tokenizer, words, backtrack).chunks for text in texts}
    read = _reader(model, embeddings, cache)
    sizes = time_ids(model.family, micro or Micro(), negative=negative)
    finish = partial(_finish, sizes=sizes, model=model)
    contexts = {schedule: finish(_states(schedule, chunks, encoders, read, emphasis)) for schedule in schedules}
    return tuple(
        _conditioning(prompt, contexts, is_silent=negative and _is_silent(model, prompt)) for prompt in prompts
    )


def _chunks_the_old_way(
    texts: Iterable[str],
    encoders: Sequence[Reading],
    tokenizer: Tokenizer,
    words: EmbeddingWords,
    emphasis: Emphasis,
    tell: Tell,
) -> Chunks:
    if any(encoder.pad == OPEN_CLIP_PAD for encoder in encoders):
        raise OldEmphasisMisfit(
            "The old way of emphasis is on, which only SD 1 models know. "
            "Turn off the setting use_old_emphasis_implementation, or choose an SD 1 checkpoint."
        )
    chunks = {}
    for text in texts:
        cut = chunk_the_old_way(text, tokenizer, words, emphasis)
        if cut.truncated:
            tell(f"The prompt is too long for the old way of emphasis; this was cut off: {cut.truncated}")
        chunks[text] = (cut.chunk,)
    return chunks


def _reader(model: Model, embeddings: Mapping[str, Vectors], cached: CachedStates | None) -> ReadRow:
    """What gives the state of a row, each row once, and not again where the cache has it."""
    states = cached or ConditioningCache(limit_bytes=sys.maxsize).under(())

    def read(reading: Reading, row: Row) -> State:
        key = StateKey.of(reading, row, embeddings, states.changes)
        return states.cache.state(model, key, lambda: read_row(reading, row, embeddings))

    return read


def _states(
    schedule: Sequence[str], chunks: Chunks, encoders: Sequence[Reading], read: ReadRow, mode: Emphasis
) -> dict[str, State]:
    """Each distinct text's (77 * chunks, width), chunk after chunk, the encoders' outputs side by side.

    The whole text's vector is that of its first chunk, by the last encoder, without emphasis (P023).
    """
    counts = Counter(schedule)
    longest = max(len(chunks[text]) for text in counts)
    columns = []
    for index in range(longest):
        column = [chunks[text][index] if index < len(chunks[text]) else EMPTY_CHUNK for text in counts]
        columns.append(_column(column, list(counts.values()), encoders, read, mode))
    tokens = torch.cat(columns, dim=1)
    pooled = [read(encoders[-1], Row.of(chunks[text][0])).pooled for text in counts]
    return dict(zip(counts, map(State, tokens, pooled), strict=True))


def _column(
    chunks: Sequence[Chunk], counts: Sequence[int], encoders: Sequence[Reading], read: ReadRow, mode: Emphasis
) -> torch.Tensor:
    """(texts, 77, width): one chunk of each text. Each encoder's output keeps its own mean under emphasis."""
    parts = []
    for encoder in encoders:
        states = torch.stack([read(encoder, Row.of(piece)).tokens for piece in chunks])
        weights = torch.tensor([piece.weights for piece in chunks], device=states.device)
        parts.append(emphasise(states, weights, torch.tensor(counts, device=states.device), mode))
    return torch.cat(parts, dim=-1)


def _finish(states: Mapping[str, State], sizes: torch.Tensor | None, model: Model) -> Contexts:
    """The states as the UNet takes them."""
    device_sizes = None if sizes is None else sizes.to(model.device)
    return {
        text: Context(
            state.tokens.to(model.dtype),
            None if state.pooled is None else state.pooled.to(model.dtype),
            device_sizes,
        )
        for text, state in states.items()
    }


def _conditioning(
    prompt: ParsedPrompt, contexts: Mapping[tuple[str, ...], Contexts], *, is_silent: bool
) -> Conditioning:
    parts = []
    for weight, entries in prompt.parts:
        of_part = contexts[tuple(entry.text for entry in entries)]
        if is_silent:
            of_part = {text: _silenced(context) for text, context in of_part.items()}
        parts.append((weight, tuple((entry.until, of_part[entry.text]) for entry in entries)))
    return Conditioning(tuple(parts))


def _is_silent(model: Model, prompt: ParsedPrompt) -> bool:
    """Whether the prompt is exactly nothing: a space, or a tag that was taken out, is something (P087)."""
    return model.family.startswith("sdxl") and not prompt.tags and all(text == "" for text in prompt.texts())


def _silenced(context: Context) -> Context:
    """SDXL's word for nothing: zeros in place of the text, its whole vector included; the sizes stay."""
    pooled = None if context.pooled is None else torch.zeros_like(context.pooled)
    return Context(torch.zeros_like(context.tokens), pooled, context.time_ids)
