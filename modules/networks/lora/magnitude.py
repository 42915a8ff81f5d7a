"""DoRA: direction and length of a weight learnt apart."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from modules.networks.lora.changes import Parts, on

TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True, eq=False)
class Magnitude:
    """The lengths that the changed weight's vectors are brought to (Liu et al. 2024, arXiv:2402.09353)."""

    lengths: torch.Tensor
    """Broadcasts over the weight."""
    of_outputs: bool
    """Vectors are those of single outputs, as PEFT has them; else of single inputs, as in the files of the ancestor,
    which takes these whichever way the lengths lie."""

    @classmethod
    def from_parts(cls, parts: Parts) -> Magnitude | None:
        if "magnitude" in parts:
            return cls(parts["magnitude"].flatten().unsqueeze(1), of_outputs=True)
        return cls(parts["dora_scale"], of_outputs=False) if "dora_scale" in parts else None

    def fits(self, shape: torch.Size) -> bool:
        """Whether there is a length for each vector of a weight of this shape."""
        lengths = self._broadcast(len(shape)).shape
        return len(lengths) == len(shape) > 1 and all(a in (1, b) for a, b in zip(lengths, shape, strict=True))

    def restored(self, weight: torch.Tensor) -> torch.Tensor:
        """The weight with its vectors at the lengths learnt; a vector of zeros stays."""
        axis = 0 if self.of_outputs else 1
        others = [dimension for dimension in range(weight.dim()) if dimension != axis]
        norms = torch.linalg.vector_norm(weight, dim=others, keepdim=True).clamp_(min=TINY)
        return weight / norms * on(self._broadcast(weight.dim()), weight)

    def _broadcast(self, dimensions: int) -> torch.Tensor:
        missing = max(dimensions - self.lengths.dim(), 0)
        return self.lengths.reshape(*self.lengths.shape, *(1,) * missing)
