"""Classifier-free guidance: what is said away from what is not (Ho and Salimans 2022, arXiv:2207.12598)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

import torch


class Context(NamedTuple):
    """What the UNet reads besides x and the timestep: of one prompt, or of N stacked."""

    tokens: torch.Tensor
    """(T, D), or (N, T, D)."""
    pooled: torch.Tensor | None = None
    """(P,), or (N, P): SDXL's vector of the whole text."""
    time_ids: torch.Tensor | None = None
    """(6,) or the refiner's (5,), or (N, 6): SDXL's sizes and crops, as numbers."""


Predict = Callable[[torch.Tensor, float, Context], torch.Tensor]
"""`(x (N, C, H, W), timestep, context of N) -> (N, C, H, W)`, the model's own output, float32."""

ONE = 1e-6


def needs_uncond(cfg_scale: float, weights: Iterable[float]) -> bool:
    """Whether anything of the unconditional prediction is left: nothing is at a guidance of exactly 1."""
    return abs(cfg_scale * sum(weights) - 1) > ONE


class Scheduled(Protocol):
    """What a prompt says at each call of the model."""

    def at(self, step: int) -> Sequence[tuple[float, Context]]:
        """(weight, context) of each part of the prompt; the same object for as long as it stays the same."""


class Guidance:
    """The model under guidance: `guidance(x, timestep)` gives uncond + cfg * sum of w_i * (cond_i - uncond).

    One instance serves one run: it counts its calls, by which prompts change. All x in (B, C, H, W), timestep a number.
    """

    def __init__(
        self,
        predict: Predict,
        conds: Sequence[Scheduled],
        unconds: Sequence[Scheduled],
        cfg_scale: float,
        *,
        apart: Callable[[], AbstractContextManager[object]] | None = None,
    ) -> None:
        """`conds` and `unconds`: one per picture; `apart`: what a separate unconditional call has to happen inside."""
        self._predict, self._conds, self._unconds, self._scale = predict, conds, unconds, cfg_scale
        self._apart = apart
        self._calls = 0
        self._now: _Contexts | None = None

    def __call__(self, x: torch.Tensor, timestep: float) -> torch.Tensor:
        contexts = self._contexts(x.device)
        self._calls += 1
        cond_x = x[contexts.owners] if contexts.several else x
        if contexts.without_uncond:
            cond = self._predict(cond_x, timestep, contexts.cond)
            return contexts.mix(cond)
        if self._apart is None and contexts.joined is not None:
            both = self._predict(torch.cat([cond_x, x]), timestep, contexts.joined)
            cond, uncond = both.split([len(cond_x), len(x)])
        else:
            cond = self._predict(cond_x, timestep, contexts.cond)
            uncond = self._alone(x, timestep, contexts.uncond)
        return uncond + contexts.mix(cond - (uncond[contexts.owners] if contexts.several else uncond))

    def _alone(self, x: torch.Tensor, timestep: float, context: Context) -> torch.Tensor:
        if self._apart is None:
            return self._predict(x, timestep, context)
        with self._apart():
            return self._predict(x, timestep, context)

    def _contexts(self, device: torch.device) -> _Contexts:
        """The stacked contexts of this call; the last ones again as long as no prompt has changed."""
        parts = [cond.at(self._calls) for cond in self._conds]
        unconds = [uncond.at(self._calls)[0][1] for uncond in self._unconds]
        if self._now is None or not self._now.holds(parts, unconds):
            self._now = _Contexts(parts, unconds, self._scale, device)
        return self._now


class _Contexts:
    """The contexts of one call, ready for the model."""

    def __init__(
        self,
        parts: Sequence[Sequence[tuple[float, Context]]],
        unconds: Sequence[Context],
        cfg_scale: float,
        device: torch.device,
    ) -> None:
        self._sources = _sources(parts, unconds)
        owners = [picture for picture, mine in enumerate(parts) for _ in mine]
        weights = [weight for mine in parts for weight, _ in mine]
        self.several = len(owners) > len(parts)
        self.owners = torch.tensor(owners, device=device)
        self.cond = _stacked([context for mine in parts for _, context in mine], device)  # (N, T, D)
        self.uncond = _stacked(unconds, device)  # (B, T, D)
        same = self.cond.tokens.shape[1:] == self.uncond.tokens.shape[1:]
        self.joined = _joined(self.cond, self.uncond) if same else None
        self.without_uncond = not any(needs_uncond(cfg_scale, (weight for weight, _ in mine)) for mine in parts)
        # (B, N): how much of each part goes into each picture
        rows = [
            [cfg_scale * w * (owner == picture) for w, owner in zip(weights, owners, strict=True)]
            for picture in range(len(parts))
        ]
        self._weights = torch.tensor(rows, device=device)

    def holds(self, parts: Sequence[Sequence[tuple[float, Context]]], unconds: Sequence[Context]) -> bool:
        """Whether these contexts are the same tensors as the ones asked for."""
        asked = _sources(parts, unconds)
        return len(asked) == len(self._sources) and all(a is b for a, b in zip(asked, self._sources, strict=True))

    def mix(self, cond: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (B, C, H, W): the weighted sum of each picture's parts."""
        if not self.several:
            return cond * self._weights.diagonal()[:, None, None, None]
        return (self._weights[:, :, None, None, None] * cond[None]).sum(1)


def _sources(parts: Sequence[Sequence[tuple[float, Context]]], unconds: Sequence[Context]) -> list[Context]:
    return [context for mine in parts for _, context in mine] + list(unconds)


def _stacked(contexts: Sequence[Context], device: torch.device) -> Context:
    """Stacked to N; shorter tokens repeat their last vector, as A1111 does for the parts of one batch."""
    longest = max(len(context.tokens) for context in contexts)
    padded = [_padded(context.tokens, longest) for context in contexts]
    pooled = [context.pooled for context in contexts if context.pooled is not None]
    time_ids = [context.time_ids for context in contexts if context.time_ids is not None]
    return Context(
        torch.stack(padded).to(device),
        torch.stack(pooled).to(device) if pooled else None,
        torch.stack(time_ids).to(device) if time_ids else None,
    )


def _padded(tokens: torch.Tensor, length: int) -> torch.Tensor:
    return torch.cat([tokens, tokens[-1:].expand(length - len(tokens), -1)])


def _joined(first: Context, second: Context) -> Context:
    return Context(*(None if a is None or b is None else torch.cat([a, b]) for a, b in zip(first, second, strict=True)))
