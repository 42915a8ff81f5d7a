"""Textual inversion (Gal et al. 2022, arXiv:2208.01618): a new word's vectors, learnt in front of a frozen model."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from modules.training.words import VOCABULARY_SIZE


class LearntWord(nn.Module):
    """Vectors (N, W) that stand where the token ids `ids` stand: 49408, 49409 ... beyond CLIP's own."""

    def __init__(self, vectors: torch.Tensor) -> None:
        super().__init__()
        self.vectors = nn.Parameter(vectors.clone())

    @property
    def ids(self) -> tuple[int, ...]:
        """The token ids to put into a prompt for this word."""
        return tuple(range(VOCABULARY_SIZE, VOCABULARY_SIZE + len(self.vectors)))

    @contextmanager
    def attached(self, text: nn.Module) -> Iterator[None]:
        """Let a CLIP text encoder understand `ids` inside the `with`."""
        table = next(module for module in text.modules() if isinstance(module, nn.Embedding))
        hook = table.register_forward_pre_hook(self._clamp)
        # The ids are kept between the two hooks, since the table must not see those it has no row for
        after = table.register_forward_hook(self._replace)
        try:
            yield
        finally:
            hook.remove()
            after.remove()

    def _clamp(self, _table: nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        self._asked = inputs[0]
        return (inputs[0].clamp(max=VOCABULARY_SIZE - 1),)

    def _replace(self, _table: nn.Module, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        place = self._asked - VOCABULARY_SIZE
        ours = (place >= 0)[..., None]
        return torch.where(ours, self.vectors[place.clamp(min=0)], output)

    def to_file(self, name: str, step: int, checkpoint: tuple[str, str]) -> dict[str, object]:
        """Return the dictionary of an A1111 embedding `.pt`; `checkpoint` is (short hash, name)."""
        return {
            "string_to_token": {"*": 265},
            "string_to_param": {"*": self.vectors.detach().clone()},
            "name": name,
            "step": step,
            "sd_checkpoint": checkpoint[0],
            "sd_checkpoint_name": checkpoint[1],
        }
