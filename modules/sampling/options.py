"""What a person may change about samplers and schedules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

UniPCVariant = Literal["bh1", "bh2", "vary_coeff"]
UniPCSkip = Literal["time_uniform", "time_quadratic", "logSNR"]


@dataclass(frozen=True)
class SamplerOptions:
    """Each sampler and schedule reads those that it knows; 0 and None mean its own default where they say so."""

    eta: float | None = None
    """Share of fresh noise; None: the sampler's own (1 for ancestral and SDE samplers, 0 for DDIM)."""
    s_churn: float = 0.0
    s_tmin: float = 0.0
    s_tmax: float = 0.0
    """0: no limit."""
    s_noise: float = 1.0
    sde_r: float = 0.5
    """Where between two sigmas DPM++ SDE looks a second time."""
    sigma_min: float = 0.0
    """0: the model's own."""
    sigma_max: float = 0.0
    """0: the model's own."""
    rho: float = 0.0
    """0: the schedule's own."""
    discard_penultimate: bool = False
    """Leave out the last sigma above zero of a schedule of one step more, whatever the sampler."""
    old_karras: bool = False
    """Schedules run from 10 to 0.1, as A1111's Karras did at first."""
    quantize: bool = False
    """The model is asked at the nearest of its own timesteps only."""
    beta_alpha: float = 0.6
    beta_beta: float = 0.6
    sgm_noise_multiplier: bool = False
    """Initial noise of the variance of a noised picture, sqrt(1 + sigma^2), instead of sigma."""
    uni_pc_variant: UniPCVariant = "bh1"
    uni_pc_skip_type: UniPCSkip = "time_uniform"
    uni_pc_order: int = 3
    uni_pc_lower_order_final: bool = True
