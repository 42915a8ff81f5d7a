"""Weights on the encoder's output: what makes `(this:1.3)` stronger (P021, P022)."""

from __future__ import annotations

import torch

from modules.prompt import Emphasis


def emphasise(states: torch.Tensor, weights: torch.Tensor, counts: torch.Tensor, mode: Emphasis) -> torch.Tensor:
    """(n, 77, width) states, each token's times its weight of `weights` (n, 77).

    "Original" then scales everything so that the mean over all n texts is what it was; text i stands for `counts[i]`
    equal ones in that mean.
    """
    if mode in ("None", "Ignore") or bool((weights == 1).all()):
        return states
    weighted = states * weights.unsqueeze(-1)
    if mode == "No norm":
        return weighted
    before, after = _mean(states, counts), _mean(weighted, counts)
    # a mean of 0 cannot be restored by any factor
    return weighted * (before / after) if after != 0 else weighted


def _mean(states: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    return (states.mean(dim=(1, 2)) * counts).sum() / counts.sum()
