"""How much signal is left at each timestep."""

from __future__ import annotations

import numpy as np
import torch
from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr

from modules.models import zero_terminal_snr
from modules.models.schedule import NEARLY_ZERO, linear_schedule, usable
from tests.models.conftest import GOLDEN


def test_the_usual_schedule_is_the_references() -> None:
    expected = torch.from_numpy(np.load(GOLDEN / "sigmas.npz")["alphas_cumprod"])
    torch.testing.assert_close(linear_schedule(0.00085, 0.012), expected, atol=0, rtol=1e-6)


def test_a_schedule_rescaled_to_end_without_signal_is_diffusers_but_for_its_last_value() -> None:
    """D018."""
    alphas = linear_schedule(0.00085, 0.012)
    before = alphas.clone()
    got = zero_terminal_snr(alphas)
    betas = 1 - alphas / torch.cat([torch.ones(1), alphas[:-1]])
    expected = torch.cumprod(1 - rescale_zero_terminal_snr(betas), dim=0)
    torch.testing.assert_close(got[:-1], expected[:-1], atol=1e-6, rtol=2e-3)
    assert got[-1].item() == torch.tensor(NEARLY_ZERO).item()
    assert torch.equal(alphas, before)
    assert usable(got)


def test_rescaling_twice_changes_next_to_nothing() -> None:
    once = zero_terminal_snr(linear_schedule(0.00085, 0.012))
    torch.testing.assert_close(zero_terminal_snr(once), once, atol=1e-3, rtol=0)


def test_coarse_rising_or_short_schedules_are_not_used() -> None:
    alphas = linear_schedule(0.00085, 0.012)
    assert usable(alphas)
    assert not usable(None)
    assert usable(alphas.half())
    assert not usable(alphas.bfloat16())
    assert not usable(alphas.flip(0))
    assert not usable(alphas[:999])
