"""The rows of one call of the model: what is said of each picture, and what is said away from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch

from .context import Context, join, stack

Match = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""Tokens (N, T, D) and (B, U, D) of both passes -> the same, perhaps of one length."""


class Scheduled(Protocol):
    """What a prompt says at each call of the model."""

    def at(self, step: int) -> Sequence[tuple[float, Context]]:
        """(weight, context) of each part of the prompt; the same object for as long as it stays the same."""


Parts = Sequence[Sequence[tuple[float, Context]]]


class Passes:
    """The stacked contexts of B pictures whose prompts have N parts in all, and how their outputs are mixed.

    Where `is_three_way`, the unconditional rows come twice, the second time without the channels of `concat`.
    """

    def __init__(
        self,
        parts: Parts,
        unconds: Sequence[Context],
        device: torch.device,
        *,
        concat: torch.Tensor | None = None,
        match: Match | None = None,
        is_three_way: bool = False,
    ) -> None:
        self._sources = _sources(parts, unconds)
        self.weights = [[weight for weight, _ in mine] for mine in parts]
        self._owners = [picture for picture, mine in enumerate(parts) for _ in mine]
        several = len(self._owners) > len(parts)
        self._owners_there = torch.tensor(self._owners).to(device, non_blocking=True) if several else None
        self.is_three_way = is_three_way
        cond = stack([context for mine in parts for _, context in mine], device)
        uncond = stack(unconds, device)
        if match is not None:
            cond_tokens, uncond_tokens = match(cond.tokens, uncond.tokens)
            cond, uncond = cond._replace(tokens=cond_tokens), uncond._replace(tokens=uncond_tokens)
        if concat is not None:
            cond, uncond = cond._replace(concat=self.spread(concat)), uncond._replace(concat=concat)
            if is_three_way:
                uncond = join(uncond, uncond._replace(concat=torch.zeros_like(concat)))
        self.cond, self.uncond = cond, uncond
        same = cond.tokens.shape[1] == uncond.tokens.shape[1]
        self.joined = join(cond, uncond) if same else None

    def holds(self, parts: Parts, unconds: Sequence[Context]) -> bool:
        """Whether these are the very contexts asked for."""
        asked = _sources(parts, unconds)
        return len(asked) == len(self._sources) and all(a is b for a, b in zip(asked, self._sources, strict=True))

    def spread(self, x: torch.Tensor) -> torch.Tensor:
        """(B, ...) -> (N, ...): each picture once for every part of its prompt."""
        return x if self._owners_there is None else x[self._owners_there]

    def first(self, cond: torch.Tensor) -> torch.Tensor:
        """(N, ...) -> (B, ...): the first part of each picture."""
        if self._owners_there is None:
            return cond
        return torch.stack([cond[self._owners.index(picture)] for picture in range(len(self.weights))])

    def combine(self, cond: torch.Tensor, uncond: torch.Tensor, scale: float) -> torch.Tensor:
        """(N, ...) and (B, ...) -> (B, ...): uncond + scale * sum of w_i * (cond_i - uncond), one after the other."""
        flat = [weight for weights in self.weights for weight in weights]
        if self._owners_there is None and len(set(flat)) == 1:
            return uncond + (cond - uncond) * (flat[0] * scale)
        mixed = uncond.clone()
        for row, (owner, weight) in enumerate(zip(self._owners, flat, strict=True)):
            mixed[owner] += (cond[row] - uncond[owner]) * (weight * scale)
        return mixed


def _sources(parts: Parts, unconds: Sequence[Context]) -> list[Context]:
    return [context for mine in parts for _, context in mine] + list(unconds)
