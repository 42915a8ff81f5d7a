"""What the UNet is asked: the context of each row, and the call itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch


class Context(NamedTuple):
    """What the UNet reads besides x and the timestep: of one prompt, or of N stacked."""

    tokens: torch.Tensor
    """(T, D), or (N, T, D)."""
    pooled: torch.Tensor | None = None
    """(P,), or (N, P): SDXL's vector of the whole text."""
    time_ids: torch.Tensor | None = None
    """(6,) or the refiner's (5,), or (N, 6): SDXL's sizes and crops, as numbers."""
    concat: torch.Tensor | None = None
    """(K, H, W), or (N, K, H, W): channels that follow those of x, of an inpainting or an instruct-pix2pix model."""

    def rows(self, part: slice) -> Context:
        """Those of N stacked ones."""
        return Context(*(None if field is None else field[part] for field in self))


Predict = Callable[[torch.Tensor, float, Context], torch.Tensor]
"""`(x (N, C, H, W), timestep, context of N) -> (N, C, H, W)`, the model's own output, float32."""


def stack(contexts: Sequence[Context], device: torch.device | None = None) -> Context:
    """One context of N from N of one; shorter tokens repeat their last vector, as in A1111 (P045)."""
    longest = max(len(context.tokens) for context in contexts)
    return Context(
        torch.stack([_repeat_last(context.tokens, longest) for context in contexts]).to(device),
        *(_stacked([context[field] for context in contexts], device) for field in range(1, len(Context._fields))),
    )


def join(*contexts: Context) -> Context:
    """One context of N + M + ... from several stacked ones whose tokens are of one length."""
    return Context(*(_joined(parts) for parts in zip(*contexts, strict=True)))


def _repeat_last(tokens: torch.Tensor, length: int) -> torch.Tensor:
    if len(tokens) == length:
        return tokens
    return torch.cat([tokens, tokens[-1:].expand(length - len(tokens), -1)])


def _stacked(parts: Sequence[torch.Tensor | None], device: torch.device | None) -> torch.Tensor | None:
    given = [part for part in parts if part is not None]
    return torch.stack(given).to(device) if given else None


def _joined(parts: Sequence[torch.Tensor | None]) -> torch.Tensor | None:
    given = [part for part in parts if part is not None]
    return torch.cat(given) if given else None
