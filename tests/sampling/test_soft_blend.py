"""Soft inpainting's blend: laws of its mixtures."""

from __future__ import annotations

import pytest
import torch

from modules.sampling import SoftBlend

SHAPE = (1, 4, 6, 6)


def blend(mask: float, **options: float) -> SoftBlend:
    usual = {"bias": 1.0, "strength": 0.5, "contrast": 4.0}
    return SoftBlend(draw(0), torch.full((1, 1, 6, 6), mask), **usual | options)


def draw(seed: int) -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def test_a_full_mask_takes_what_is_new_and_an_empty_one_the_original() -> None:
    x = draw(1)
    assert torch.allclose(blend(1.0)(x, 3.0), x, atol=1e-4)
    assert torch.allclose(blend(0.0)(x, 3.0), draw(0), atol=1e-4)


def test_the_original_counts_the_more_the_noisier_it_is() -> None:  # "Balanced": in proportion to sigma
    x = draw(1)
    distances = [float((blend(0.5)(x, sigma) - draw(0)).norm()) for sigma in (0.1, 1.0, 4.0, 14.0)]
    assert distances == sorted(distances, reverse=True)


def test_without_a_bias_the_noise_makes_no_difference() -> None:
    x = draw(1)
    assert torch.equal(blend(0.5, bias=0.0)(x, 0.1), blend(0.5, bias=0.0)(x, 14.0))


@pytest.mark.parametrize("contrast", [1.0, 4.0, 32.0])
def test_a_mixture_is_as_long_as_the_power_mean_of_what_it_is_mixed_of(contrast: float) -> None:
    x, original = draw(1), draw(0)
    mixed = blend(0.5, contrast=contrast)(x, 2.0)  # 0.5 ** (2 * 0.5): half of each
    lengths = [each.double().norm(dim=1) for each in (x, original)]
    wanted = ((lengths[0] ** contrast + lengths[1] ** contrast) / 2) ** (1 / contrast)
    assert torch.allclose(mixed.double().norm(dim=1), wanted, rtol=1e-3)


def test_what_a_run_ends_with_is_left_as_it_is_and_its_change_measured() -> None:
    x, soft = draw(1), blend(0.5)
    assert torch.equal(soft(x), x)
    assert torch.allclose(soft.changes(x), (x - draw(0)).norm(dim=1))
