import threading
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from modules.models.threads import LANES, SMALL, run_small_on_one_thread, side_by_side


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
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def network(three_threads: None) -> Network:
    network = Network()
    run_small_on_one_thread(network)
    return network


def test_a_small_call_runs_on_one_thread_and_a_large_one_on_all(network: Network) -> None:
    rows = SMALL // 2**20 // 64
    assert network(torch.zeros(rows - 1, 4, 8, 8)) == 1
    assert network(sample=torch.zeros(rows, 4, 8, 8)) == 3
    assert torch.get_num_threads() == 3


def test_the_threads_are_back_after_a_call_that_fails(network: Network) -> None:
    with pytest.raises(ValueError):
        network(torch.zeros(1, 4, 8, 8), fails=True)
    assert torch.get_num_threads() == 3


def test_pieces_of_work_are_done_beside_each_other_each_on_its_share_of_the_threads(three_threads: None) -> None:
    torch.set_num_threads(2 * LANES)
    met, shares = threading.Barrier(LANES, timeout=60), []

    def piece() -> None:
        met.wait()  # nobody gets further alone
        shares.append(torch.get_num_threads())

    side_by_side([piece] * (3 * LANES))
    assert shares == [2] * (3 * LANES)
    assert torch.get_num_threads() == 2 * LANES


def test_threads_begun_after_such_work_have_as_many_as_before(three_threads: None) -> None:
    side_by_side([lambda: None] * 5)
    seen: list[int] = []
    later = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert seen == [3]


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_of_a_piece_is_raised_and_the_threads_are_back(three_threads: None, threads: int) -> None:
    torch.set_num_threads(threads)

    def fail() -> None:
        raise ValueError("a piece that cannot be done")

    with pytest.raises(ValueError, match="cannot be done"):
        side_by_side([lambda: None, fail, lambda: None])
    assert torch.get_num_threads() == threads
