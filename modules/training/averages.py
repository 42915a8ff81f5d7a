"""An exponential moving average of weights: what is sampled from and shipped."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class MovingAverage:
    """Follows a module's parameters at a distance of about 1/(1 - decay) steps, nearer in the first ones."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self.shadow = [parameter.detach().clone() for parameter in module.parameters()]

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Move towards the module's present weights."""
        current = [parameter.detach() for parameter in module.parameters()]
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(self.shadow, current, 1.0 - decay)

    @contextmanager
    def applied(self, module: nn.Module) -> Iterator[None]:
        """Give the module the averaged weights inside the `with`, and its own again after it."""
        own = [parameter.detach().clone() for parameter in module.parameters()]
        try:
            self._write(module, self.shadow)
            yield
        finally:
            self._write(module, own)

    def state_dict(self) -> dict[str, object]:
        """Return what `load_state_dict` takes back."""
        return {"shadow": self.shadow, "steps": self.steps}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Go on from a stored average."""
        self.steps = state.get("steps", 0)
        for mine, stored in zip(self.shadow, state["shadow"], strict=True):
            mine.copy_(stored)

    @staticmethod
    @torch.no_grad()
    def _write(module: nn.Module, values: list[torch.Tensor]) -> None:
        for parameter, value in zip(module.parameters(), values, strict=True):
            parameter.copy_(value)
