"""Low-rank adapters on a frozen network (Hu et al. 2021, arXiv:2106.09685), named and stored as kohya's files are."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import torch
from torch import nn
from torch.nn import functional as F


class LowRank(nn.Module):
    """What is added to one linear or convolution layer: up(down(x)) * alpha / rank; nothing at first."""

    def __init__(self, target: nn.Linear | nn.Conv2d, rank: int, alpha: float) -> None:
        super().__init__()
        outputs, *rest = target.weight.shape
        self.alpha, self.rank = alpha, rank
        self.down = nn.Parameter(torch.empty(rank, *rest))
        nn.init.kaiming_uniform_(self.down, a=5**0.5)
        ones = (1,) * (len(rest) - 1)
        self.up = nn.Parameter(torch.zeros(outputs, rank, *ones))

    def add(self, layer: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        """Forward hook: the layer's output with this adapter's part."""
        if isinstance(layer, nn.Conv2d):
            part = F.conv2d(F.conv2d(inputs[0], self.down, None, layer.stride, layer.padding), self.up)
        else:
            part = F.linear(F.linear(inputs[0], self.down), self.up)
        return output + part * (self.alpha / self.rank)


def find_targets(network: nn.Module, inside: tuple[str, ...]) -> Iterator[tuple[str, nn.Linear | nn.Conv2d]]:
    """List the linear and convolution layers inside modules of these class names, with their paths."""
    seen: set[str] = set()
    for path, module in network.named_modules():
        if type(module).__name__ not in inside:
            continue
        for name, layer in module.named_modules():
            full = f"{path}.{name}"
            if isinstance(layer, (nn.Linear, nn.Conv2d)) and full not in seen:
                seen.add(full)
                yield full, layer


class Adapters(nn.Module):
    """Adapters for chosen layers of several networks; `attached` puts them on and takes them off."""

    def __init__(
        self, networks: Mapping[str, nn.Module], inside: tuple[str, ...], *, rank: int = 4, alpha: float = 4.0
    ) -> None:
        super().__init__()
        self.layers: list[nn.Linear | nn.Conv2d] = []
        self.parts = nn.ModuleDict()
        for prefix, network in networks.items():
            for path, layer in find_targets(network, inside):
                self.layers.append(layer)
                self.parts[f"{prefix}_{path.replace('.', '_')}"] = LowRank(layer, rank, alpha)

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Let the networks use the adapters inside the `with`."""
        with ExitStack() as stack:
            for layer, part in zip(self.layers, self.parts.values(), strict=True):
                stack.callback(layer.register_forward_hook(part.add).remove)
            yield

    def to_kohya(self) -> dict[str, torch.Tensor]:
        """Return `<layer>.lora_down.weight`, `.lora_up.weight` and `.alpha` for every layer, fp16."""
        tensors: dict[str, torch.Tensor] = {}
        for name, part in self.parts.items():
            tensors[f"{name}.lora_down.weight"] = part.down.detach().half().contiguous()
            tensors[f"{name}.lora_up.weight"] = part.up.detach().half().contiguous()
            tensors[f"{name}.alpha"] = torch.tensor(part.alpha, dtype=torch.float16)
        return tensors
