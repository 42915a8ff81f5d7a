"""Hypernetworks: small networks in front of the keys' and values' projections of every attention of some widths."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

STRUCTURE = (1, 4, 1)  # widths of the layers, in widths of the context


class ContextNetwork(nn.Module):
    """What is added to a context (B, T, W): a perceptron that starts at zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = width * STRUCTURE[1]
        self.linear = nn.Sequential(nn.Linear(width, inner), nn.ReLU(), nn.Linear(inner, width))
        nn.init.normal_(self.linear[0].weight, std=width**-0.5)
        nn.init.zeros_(self.linear[0].bias)
        nn.init.zeros_(self.linear[2].weight)
        nn.init.zeros_(self.linear[2].bias)

    def add(self, _layer: nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        """Forward pre-hook: the context with this network's part."""
        return (inputs[0] + self.linear(inputs[0]),)


class Hypernetwork(nn.Module):
    """Two context networks (keys, values) for each width of context."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.pairs = nn.ModuleDict(
            {str(width): nn.ModuleList([ContextNetwork(width), ContextNetwork(width)]) for width in widths}
        )

    @contextmanager
    def attached(self, unet: nn.Module) -> Iterator[None]:
        """Let every attention of the UNet whose context has one of the widths use the networks inside the `with`."""
        with ExitStack() as stack:
            for module in unet.modules():
                if type(module).__name__ != "Attention" or str(module.to_k.in_features) not in self.pairs:
                    continue
                keys, values = self.pairs[str(module.to_k.in_features)]
                stack.callback(module.to_k.register_forward_pre_hook(keys.add).remove)
                stack.callback(module.to_v.register_forward_pre_hook(values.add).remove)
            yield

    def to_file(self, name: str, step: int, checkpoint: tuple[str, str]) -> dict[int | str, object]:
        """Return the dictionary of an A1111 hypernetwork `.pt`; `checkpoint` is (short hash, name)."""
        state: dict[int | str, object] = {
            int(width): tuple({key: t.detach().half() for key, t in part.state_dict().items()} for part in pair)
            for width, pair in self.pairs.items()
        }
        return state | {
            "step": step,
            "name": name,
            "layer_structure": list(STRUCTURE),
            "activation_func": "relu",
            "is_layer_norm": False,
            "weight_initialization": "Normal",
            "use_dropout": False,
            "dropout_structure": [0, 0, 0],
            "last_layer_dropout": False,
            "activate_output": False,
            "sd_checkpoint": checkpoint[0],
            "sd_checkpoint_name": checkpoint[1],
            "optional_info": None,
        }
