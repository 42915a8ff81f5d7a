"""Captions as tokens of a compact vocabulary, so that only words that are taught cost memory while training."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

LENGTH = 77  # CLIP's window
VOCABULARY_SIZE = 49408
START, END = 49406, 49407  # END is also SD 1.x's padding

Tokenise = Callable[[str], Sequence[int]]
"""Words to CLIP token ids, without start, end and padding."""


@dataclass(frozen=True, slots=True)
class CompactVocabulary:
    """The CLIP ids in use, in the order of their compact ids; compact id 0 stands for every other word."""

    ids: tuple[int, ...]

    @classmethod
    def of(cls, texts: Sequence[str], tokenise: Tokenise) -> "CompactVocabulary":
        """Collect the tokens of all texts."""
        return cls((START, END, *sorted({token for text in texts for token in tokenise(text)})))

    def __len__(self) -> int:
        return len(self.ids) + 1

    def encode(self, texts: Sequence[str], tokenise: Tokenise) -> torch.Tensor:
        """Return compact ids (B, 77), cut and padded as SD 1.x does."""
        compact = {token: position + 1 for position, token in enumerate(self.ids)}
        rows = []
        for text in texts:
            tokens = [START, *list(tokenise(text))[: LENGTH - 2]]
            tokens += [END] * (LENGTH - len(tokens))
            rows.append([compact.get(token, 0) for token in tokens])
        return torch.tensor(rows)

    def expand(self, table: torch.Tensor) -> torch.Tensor:
        """Turn a compact table (len(self), W) into CLIP's (49408, W): unused words all get row 0."""
        full = table[0].repeat(VOCABULARY_SIZE, 1)
        full[list(self.ids)] = table[1:]
        return full
