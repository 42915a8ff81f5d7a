"""Self-attention over fewer tokens, those alike taken as one."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.models import Model, merging_tokens
from modules.models.token_merging import Merging


def tokens_of(height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(2, height * width, 8, generator=torch.Generator().manual_seed(seed))


def merging_of(tokens: torch.Tensor, height: int, width: int, ratio: float) -> Merging:
    stays = torch.zeros(height, width, dtype=torch.bool)
    stays[: height // 2 * 2 : 2, : width // 2 * 2 : 2] = True
    return Merging(tokens, stays.flatten().nonzero()[:, 0], (~stays.flatten()).nonzero()[:, 0], ratio)


sizes = st.integers(2, 7)


@given(height=sizes, width=sizes, ratio=st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_as_many_go_as_the_ratio_says_but_one_of_four_stays(height: int, width: int, ratio: float) -> None:
    tokens = tokens_of(height, width)
    merging = merging_of(tokens, height, width, ratio)
    count = height * width
    merged = merging.merge(tokens)
    assert merged.shape[1] == count - min(int(count * ratio), count - (height // 2) * (width // 2))
    assert merging.unmerge(merged).shape == tokens.shape


@given(height=sizes, width=sizes, ratio=st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_of_tokens_that_are_all_alike_merging_loses_nothing(height: int, width: int, ratio: float) -> None:
    tokens = tokens_of(1, 1).expand(-1, height * width, -1)
    merging = merging_of(tokens, height, width, ratio)
    torch.testing.assert_close(merging.unmerge(merging.merge(tokens)), tokens)


def test_those_that_are_not_merged_come_back_as_they_were() -> None:
    tokens = tokens_of(4, 4)
    merging = merging_of(tokens, 4, 4, 0.25)
    back = merging.unmerge(merging.merge(tokens))
    same = (back == tokens).all(-1).sum(-1)
    assert (same >= 16 - 2 * 4).all()  # at most the four that went, and the four they went into
    assert (same < 16).all()


def test_the_most_alike_go_first() -> None:
    tokens = tokens_of(2, 2)
    tokens[:, 3] = tokens[:, 0] * 2  # alike is a matter of direction
    merged = merging_of(tokens, 2, 2, 0.25).merge(tokens)
    torch.testing.assert_close(merged[:, -1], tokens[:, 0] * 1.5)


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(3))


def test_it_changes_the_prediction_and_is_gone_afterwards(model: Model, x: torch.Tensor) -> None:
    context = torch.randn(1, 77, 64, generator=torch.Generator().manual_seed(4))

    def ask() -> torch.Tensor:
        return model.unet(x, torch.tensor([500.0]), encoder_hidden_states=context).sample

    with torch.inference_mode():
        plain = ask()
        with merging_tokens(model.unet, 0.0):
            assert torch.equal(ask(), plain)
        with pytest.raises(KeyboardInterrupt), merging_tokens(model.unet, 0.5):
            assert 0 < (ask() - plain).abs().max() < plain.abs().max()
            raise KeyboardInterrupt
        assert torch.equal(ask(), plain)
