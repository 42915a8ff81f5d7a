"""Token merging: self-attention over fewer tokens, those alike taken as one (Bolya and Hoffman 2023, arXiv:2303.17604).

Lossy and faster. As A1111 uses it: self-attention alone, in the layers of full resolution alone, and the token that
stands for its 2 x 2 neighbourhood is always the first of it, never a random one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel

STRIDE = 2
"""One token of STRIDE x STRIDE stays, whatever the ratio."""


class Merging:
    """Which of N tokens are taken as one, decided by how alike they are."""

    def __init__(self, tokens: torch.Tensor, kept: torch.Tensor, loose: torch.Tensor, ratio: float) -> None:
        """`tokens` (B, N, C), the indices of those that stay and of all others, and the share of N that goes."""
        self._kept, self._loose = kept, loose
        self._size = tokens.shape[1]
        unit = tokens / tokens.norm(dim=-1, keepdim=True)
        likeness, nearest = (unit[:, loose] @ unit[:, kept].transpose(1, 2)).max(dim=-1)  # (B, loose)
        order = likeness.argsort(dim=-1, descending=True)
        count = min(len(loose), int(self._size * ratio))
        self._merged, self._alone = order[:, :count], order[:, count:]
        self._into = nearest.gather(1, self._merged)

    def merge(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, N, C) -> (B, fewer, C): each token that stays is the mean of itself and those merged into it."""
        loose, kept = tokens[:, self._loose], tokens[:, self._kept]
        merged = _pick(loose, self._merged)
        kept = kept.scatter_reduce(1, _wide(self._into, merged), merged, reduce="mean")
        return torch.cat([_pick(loose, self._alone), kept], dim=1)

    def unmerge(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, fewer, C) -> (B, N, C): a token that was merged is a copy of the one it was merged into."""
        alone, kept = tokens.split([self._alone.shape[1], len(self._kept)], dim=1)
        loose = tokens.new_empty(len(tokens), len(self._loose), tokens.shape[-1])
        loose.scatter_(1, _wide(self._alone, alone), alone)
        merged = _pick(kept, self._into)
        loose.scatter_(1, _wide(self._merged, merged), merged)
        whole = tokens.new_empty(len(tokens), self._size, tokens.shape[-1])
        whole[:, self._loose], whole[:, self._kept] = loose, kept
        return whole


@contextmanager
def merging_tokens(unet: UNet2DConditionModel, ratio: float) -> Iterator[None]:
    """Inside, self-attention does without `ratio` (0..1) of its tokens; with 0 nothing is changed."""
    with ExitStack() as stack:
        if ratio > 0:
            grid = _Grid()
            stack.callback(unet.register_forward_pre_hook(grid.see).remove)
            for block in _transformer_blocks(unet):
                merger = _BlockMerger(grid, ratio)
                stack.callback(block.norm1.register_forward_hook(merger.merge).remove)
                stack.callback(block.attn1.register_forward_hook(merger.unmerge).remove)
        yield


def _transformer_blocks(unet: nn.Module) -> Iterator[Any]:
    from diffusers.models.attention import BasicTransformerBlock

    return (module for module in unet.modules() if isinstance(module, BasicTransformerBlock))


class _Grid:
    """The latents that the UNet is seeing: their size, and which tokens of theirs stay."""

    size = (0, 0)

    def __init__(self) -> None:
        self._indices: dict[tuple[int, int, torch.device], tuple[torch.Tensor, torch.Tensor]] = {}

    def see(self, unet: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        """Note the size of what goes into the UNet."""
        self.size = tuple(args[0].shape[-2:])

    def indices(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Of the tokens that stay, the first of each whole 2 x 2, and of all others."""
        height, width = self.size
        key = (height, width, device)
        if key not in self._indices:
            stays = torch.zeros(height, width, dtype=torch.bool)
            stays[: height // STRIDE * STRIDE : STRIDE, : width // STRIDE * STRIDE : STRIDE] = True
            flat = stays.flatten()
            self._indices[key] = flat.nonzero()[:, 0].to(device), (~flat).nonzero()[:, 0].to(device)
        return self._indices[key]


class _BlockMerger:
    """Merges the tokens of one block before its self-attention, and takes them apart behind it."""

    def __init__(self, grid: _Grid, ratio: float) -> None:
        self._grid, self._ratio = grid, ratio
        self._merging: Merging | None = None

    def merge(self, norm: nn.Module, args: tuple[torch.Tensor, ...], normed: torch.Tensor) -> torch.Tensor:
        """The normed tokens, merged by the likeness of what they were made of."""
        (tokens,) = args
        self._merging = None
        if tokens.shape[1] < math.prod(self._grid.size):  # of a layer at a lower resolution
            return normed
        self._merging = Merging(tokens, *self._grid.indices(tokens.device), self._ratio)
        return self._merging.merge(normed)

    def unmerge(self, attention: nn.Module, args: tuple[torch.Tensor, ...], mixed: torch.Tensor) -> torch.Tensor:
        """What the attention made of the merged tokens, for each of the tokens there were."""
        merging, self._merging = self._merging, None
        return mixed if merging is None else merging.unmerge(mixed)


def _pick(tokens: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """(B, N, C) at (B, n) -> (B, n, C)."""
    return tokens.gather(1, _wide(index, tokens))


def _wide(index: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """(B, n) as an index into tokens of C numbers each."""
    return index[..., None].expand(-1, -1, tokens.shape[-1])
