from collections.abc import Iterator

import pytest
import torch
from torch import nn

from modules.models.threads import SMALL, run_small_on_one_thread


class Network(nn.Module):
    """Says on how many threads it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2**20))

    def forward(self, sample: torch.Tensor, *, fails: bool = False) -> int:
        if fails:
            raise ValueError
        return torch.get_num_threads()


@pytest.fixture
def network() -> Iterator[Network]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    network = Network()
    run_small_on_one_thread(network)
    yield network
    torch.set_num_threads(before)


def test_a_small_call_runs_on_one_thread_and_a_large_one_on_all(network: Network) -> None:
    rows = SMALL // 2**20 // 64
    assert network(torch.zeros(rows - 1, 4, 8, 8)) == 1
    assert network(sample=torch.zeros(rows, 4, 8, 8)) == 3
    assert torch.get_num_threads() == 3


def test_the_threads_are_back_after_a_call_that_fails(network: Network) -> None:
    with pytest.raises(ValueError):
        network(torch.zeros(1, 4, 8, 8), fails=True)
    assert torch.get_num_threads() == 3
