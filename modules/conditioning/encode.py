"""Prompts -> the contexts that the UNet reads at each step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from modules.conditioning.clip import Row, Vectors, hidden_states
from modules.conditioning.emphasis import emphasise
from modules.models import Model
from modules.prompt import (
    EMPTY_CHUNK,
    Chunk,
    Emphasis,
    ParsedPrompt,
    Tokenizer,
    chunk,
    embedding_words,
    parse_attention,
)
from modules.sampling import Context

Contexts = Mapping[str, Context]


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
) -> tuple[Conditioning, ...]:
    """The conditioning of each prompt, in the model's dtype on its device.

    The texts of a part's schedule share one mean under "Original" emphasis (P022) and one length, the longest's (P080);
    parts and prompts do not influence each other. A text is encoded once however often it occurs. Raises
    EmbeddingMisfit where an embedding was made for another text encoder.
    """
    embeddings = embeddings or {}
    words = embedding_words(
        {name: next(iter(kinds.values())).shape[0] for name, kinds in embeddings.items()}, tokenizer
    )
    schedules = dict.fromkeys(
        tuple(entry.text for entry in entries) for prompt in prompts for _, entries in prompt.parts
    )
    chunks = {
        text: chunk(parse_attention(text, emphasis), tokenizer, words, backtrack).chunks
        for texts in schedules
        for text in texts
    }
    rows = list(dict.fromkeys(_row(piece) for pieces in (*chunks.values(), (EMPTY_CHUNK,)) for piece in pieces))
    states = dict(zip(rows, hidden_states(model.text_encoder, rows, embeddings, clip_skip), strict=True))
    contexts = {
        texts: {
            text: Context(tokens.to(model.dtype)) for text, tokens in _tokens(texts, chunks, states, emphasis).items()
        }
        for texts in schedules
    }
    return tuple(_conditioning(prompt, contexts) for prompt in prompts)


def _conditioning(prompt: ParsedPrompt, contexts: Mapping[tuple[str, ...], Contexts]) -> Conditioning:
    parts = []
    for weight, entries in prompt.parts:
        of_part = contexts[tuple(entry.text for entry in entries)]
        parts.append((weight, tuple((entry.until, of_part[entry.text]) for entry in entries)))
    return Conditioning(tuple(parts))


def _tokens(
    texts: Sequence[str], chunks: Mapping[str, Sequence[Chunk]], states: Mapping[Row, torch.Tensor], mode: Emphasis
) -> dict[str, torch.Tensor]:
    """Each distinct text's (77 * chunks, width), chunk after chunk."""
    count = Counter(texts)
    longest = max(len(chunks[text]) for text in count)
    columns = []
    for index in range(longest):
        pieces = [chunks[text][index] if index < len(chunks[text]) else EMPTY_CHUNK for text in count]
        column = torch.stack([states[_row(piece)] for piece in pieces])  # (texts, 77, width)
        weights = torch.tensor([piece.weights for piece in pieces], device=column.device)
        counts = torch.tensor(list(count.values()), device=column.device)
        columns.append(emphasise(column, weights, counts, mode))
    return dict(zip(count, torch.cat(columns, dim=1), strict=True))


def _row(piece: Chunk) -> Row:
    return Row(piece.tokens, piece.embeddings)
